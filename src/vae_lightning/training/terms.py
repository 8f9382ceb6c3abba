"""The terms of training, summed over images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor, distributed

from vae_lightning.errors import DivergedError
from vae_lightning.objectives.objective import TERMS
from vae_lightning.utils.precision import at_least_float32


class TrainedBatch(NamedTuple):
    """A batch whose terms are still on the device.

    Attributes:
        step: the step of the optimiser that it is part of, from 1.
        num_images: B.
        rate, distortion: (K, B), in nats.
        loss: a scalar, in nats per image.
    """

    step: int
    num_images: int
    rate: Tensor
    distortion: Tensor
    loss: Tensor


@dataclass
class TermSums:
    """The terms, summed over images, in nats.

    Attributes:
        sums: by the names of `TERMS`.
        images: how many.
    """

    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TERMS, 0.0))
    images: int = 0

    def add(self, num_images: int, means: Iterable[float]) -> None:
        """Add a batch with the means of its terms over its images."""
        for name, mean in zip(TERMS, means, strict=True):
            self.sums[name] += num_images * mean
        self.images += num_images

    def means(self) -> dict[str, float]:
        """The means over the images, in nats per image."""
        return {name: total / self.images for name, total in self.sums.items()}


def term_means(rate: Tensor, distortion: Tensor, loss: Tensor) -> Tensor:
    """The terms, averaged over samples and images.

    Shape:
        rate and distortion (K, B), loss a scalar; returns (len(TERMS),).
    """
    rate, distortion = at_least_float32(rate).mean(), at_least_float32(distortion).mean()
    return torch.stack([-distortion - rate, rate, distortion, at_least_float32(loss)])


def read(batches: Sequence[TrainedBatch]) -> list[tuple[int, list[float]]]:
    """The number of images of each batch, and the means of its terms over them.

    Of several processes, each calls this at the same time, with its part of the same batches.

    Returns:
        for each batch, over the images of all processes: how many, and the means by `TERMS`.

    Raises:
        DivergedError: one is not finite; the message names the term and the step.
    """
    terms = [term_means(batch.rate, batch.distortion, batch.loss) for batch in batches]
    counts = [batch.num_images for batch in batches]
    means = torch.stack(terms)
    if distributed.is_available() and distributed.is_initialized():
        means, counts = _of_all_processes(means, counts)
    # CPU-GPU sync point: one per log interval (50 steps by default) instead of one per step.
    rows = means.tolist()
    for batch, row in zip(batches, rows, strict=True):
        broken = {name for name, value in zip(TERMS, row, strict=True) if not isfinite(value)}
        if broken:
            # elbo and loss follow from the other two.
            parts = " and ".join(sorted(broken & {"rate", "distortion"}) or sorted(broken))
            raise DivergedError(f"{parts} stopped being finite at step {batch.step}")
    return list(zip(counts, rows, strict=True))


def _of_all_processes(means: Tensor, counts: Sequence[int]) -> tuple[Tensor, list[int]]:
    images = torch.tensor(counts, dtype=torch.float64, device=means.device)[:, None]
    sums = torch.cat([images * means, images], dim=1)
    distributed.all_reduce(sums)
    return sums[:, :-1] / sums[:, -1:], [int(count) for count in sums[:, -1].tolist()]
