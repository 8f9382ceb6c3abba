"""Memory is bounded by bytes, and results do not depend on the bound."""

import pytest
import torch
from torch.nn import functional as F

from tiny import tiny_data, tiny_vae
from vae_lightning.data import binarization
from vae_lightning.data.image_reader import ImageReader
from vae_lightning.data.resizing import resize
from vae_lightning.data.streamed_batches import StreamedBatches
from vae_lightning.detection.scores import Scorer
from vae_lightning.utils import blocks


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (23, 3, 9, 9), generator=generator, dtype=torch.uint8)


def test_scaled_and_binarised_images_do_not_depend_on_the_block(
    images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled = F.interpolate(images.float(), (6, 6), mode="bilinear", antialias=True)
    drawn = binarization.fixed(images, seed=1)
    for size in (1, 5 * 3 * 81 * 4):
        monkeypatch.setattr(blocks, "BLOCK_BYTES", size)
        assert torch.equal(resize(images, 6), scaled.round().to(torch.uint8))
        assert torch.equal(binarization.fixed(images, seed=1), drawn)


def test_anomaly_scores_do_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny_data()
    data.setup("test")
    images, _ = data.evaluated("train")
    scores = ["latent", "elbo", "reconstruction"]
    expected = Scorer(tiny_vae(), scores, 2, 0, images)(images, "")
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 5 * 16 * 4)
    found = Scorer(tiny_vae(), scores, 2, 0, images)(images, "")
    for name in scores:
        assert torch.allclose(found[name], expected[name], rtol=1e-5)


def test_the_first_images_of_a_split_are_fewer_if_they_take_too_much_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tiny_data()
    data.setup("test")
    assert len(data.images("train", 100)[0]) == 18
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 3 * 16 * 4)
    assert len(data.images("train", 100)[0]) == 12


def test_fewer_workers_read_ahead_if_batches_are_large() -> None:
    def workers(size: int) -> int:
        labels = torch.zeros(4000, dtype=torch.int64)
        batches = StreamedBatches(
            labels,
            1000,
            paths=[],
            noise_indices=labels,
            reader=ImageReader(3, (size, size)),
            num_workers=8,
        )
        return batches._max_workers()

    assert workers(64) > 8
    assert workers(256) == 2
    assert workers(2048) == 1
