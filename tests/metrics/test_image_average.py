"""Averages count images."""

import pytest
import torch

from vae_lightning.metrics import ImageAverage


def updated(*batches: tuple[list[float], int]) -> ImageAverage:
    metric = ImageAverage(("rate", "elbo"))
    for means, num_images in batches:
        metric.update(torch.tensor(means), num_images)
    return metric


def values(metric: ImageAverage) -> dict[str, float]:
    return {name: value.item() for name, value in metric.compute().items()}


def test_a_short_last_batch_counts_for_the_images_that_it_has() -> None:
    metric = updated(([1.0, -10.0], 8), ([1.0, -10.0], 8), ([10.0, -100.0], 2))
    # Over batches it would be 4 and -40.
    assert values(metric) == {"rate": pytest.approx(2.0), "elbo": pytest.approx(-20.0)}


def test_average_is_that_of_all_images_however_they_are_split() -> None:
    images = torch.rand(30, 2, generator=torch.Generator().manual_seed(0))
    metric = ImageAverage(("rate", "elbo"))
    for part in images.split([13, 1, 9, 7]):
        metric.update(part.mean(0), len(part))
    expected = images.double().mean(0)
    # Sums of 30 numbers in float32.
    assert list(values(metric).values()) == pytest.approx(expected.tolist(), rel=1e-6)


def test_it_can_be_read_between_updates() -> None:
    metric = updated(([2.0, 0.0], 4))
    assert values(metric)["rate"] == 2.0
    metric.update(torch.tensor([5.0, 0.0]), 2)
    assert values(metric)["rate"] == 3.0


def test_reset_forgets_every_image() -> None:
    metric = updated(([100.0, 100.0], 1000))
    metric.reset()
    metric.update(torch.tensor([1.0, 2.0]), 1)
    assert values(metric) == {"rate": 1.0, "elbo": 2.0}


def test_processes_are_merged_by_their_images() -> None:
    ours, theirs = updated(([1.0, 0.0], 6)), updated(([5.0, 4.0], 1), ([5.0, 4.0], 1))
    # What torchmetrics does with the states of several processes, without starting them.
    ours.merge_state(theirs)
    # A mean of the two processes' means would be 3 and 2.
    assert values(ours) == {"rate": 2.0, "elbo": 1.0}


def test_quantities_keep_their_names_and_order() -> None:
    assert list(updated(([1.0, 2.0], 1)).compute()) == ["rate", "elbo"]
    with pytest.raises(RuntimeError):
        updated(([1.0, 2.0, 3.0], 1))
