"""Blocks of rows that follow from a number of bytes."""

import pytest
import torch
from torch import Tensor, nn

from allocations import Largest
from vae_lightning.utils import blocks
from vae_lightning.utils.blocks import images_at_once, in_blocks, peak_bytes


def test_the_peak_counts_what_exists_at_once_and_is_made_inside() -> None:
    given = torch.ones(1000)
    one = 4 * 1000

    def chain() -> Tensor:
        x = given + 1
        for _ in range(5):
            x = x * 2
        return x

    assert peak_bytes(chain) == 2 * one
    assert peak_bytes(lambda: [given + 1 for _ in range(5)]) == 5 * one
    assert peak_bytes(lambda: (given.view(10, 100).t(), given[3:])) == 0  # views
    assert peak_bytes(lambda: given.add_(1).relu_()) == 0
    assert peak_bytes(lambda: nn.functional.linear(given, given.expand(7, 1000))) == 4 * 7


def counted(seen: list[int]) -> nn.Module:
    layer = nn.Linear(3, 5)
    layer.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    return layer.eval()


def test_blocks_follow_from_the_bytes_of_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4 * 4 * 5)  # four rows of five floats
    seen: list[int] = []
    layer, x = counted(seen), torch.randn(10, 3)
    with torch.no_grad():
        first = in_blocks(layer, x)
        assert seen == [1, 4, 4, 2]  # the first row is measured once
        seen.clear()
        torch.testing.assert_close(in_blocks(layer, x), first)
        assert seen == [4, 4, 2]
        torch.testing.assert_close(layer(x), first)
        seen.clear()
        in_blocks(layer, x, most=3)
        assert seen == [3, 3, 3, 1]


def test_rows_are_one_block_where_they_fit_with_gradients_and_in_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    layer, x = counted(seen), torch.randn(10, 3)
    with torch.no_grad():
        in_blocks(layer, x)
    assert seen == [1, 10]
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1)
    seen.clear()
    in_blocks(layer, x)  # with gradients
    with torch.no_grad():
        in_blocks(layer.train(), x)
    assert seen == [10, 10]


def test_several_inputs_are_divided_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1)
    x, y = torch.randn(5, 2), torch.randn(5, 2)
    with torch.no_grad():
        both = in_blocks(lambda a, b, c: a + b if c is None else c, x, y, None)
    torch.testing.assert_close(both, x + y)


def test_the_memory_of_many_rows_stays_within_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 2**20)
    x = torch.randn(20_000, 2)
    with torch.no_grad(), Largest() as largest:
        in_blocks(lambda rows: rows.repeat(1, 500).exp().sum(1), x)
    assert largest.bytes < 2**20


def test_a_block_holds_at_least_one_image_and_at_most_its_bytes() -> None:
    assert images_at_once((1, 28, 28), most=1000) == 1000
    assert images_at_once((3, 512, 512), most=1000) * 3 * 512 * 512 * 4 <= blocks.BLOCK_BYTES
    assert images_at_once((3, 512, 512), 1000, bytes_per_value=1) == 341
    assert images_at_once((3, 20_000, 20_000), most=1000) == 1
