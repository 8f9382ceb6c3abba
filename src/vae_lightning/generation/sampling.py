"""Samples in batches, in constant memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_lightning.models import Model
from vae_lightning.utils.pixels import to_uint8

# Draws a number of latents, (N, D).
DrawLatents = Callable[[int], Tensor]

# Latents are always drawn by so many, the last ones too. This is part of what a seed means: no
# image depends on how many there are, nor on how many are decoded at once.
_DRAWN = 500


@dataclass(frozen=True)
class SampleBatch:
    """A batch of samples, on the CPU.

    Attributes:
        images: uint8 (B, C, H, W).
        latents: (B, D).
        labels: int64 (B,), of a conditional model.
    """

    images: Tensor
    latents: Tensor
    labels: Tensor | None


@torch.no_grad()
def sample_batches(
    model: Model, draw: DrawLatents, count: int, classes: Sequence[int] | None, batch_size: int
) -> Iterator[SampleBatch]:
    """Draw latents and decode them batch by batch; the noise is torch's own.

    Args:
        model: in evaluation mode.
        draw: draws latents, in the form of `model.latent_means`.
        count: of images in all.
        classes: the labels for a conditional model, repeated in this order; None takes all.
        batch_size: images decoded at once.

    Example:
        >>> from vae_lightning.config import compose, instantiate, to_container
        >>> config = to_container(compose("train", ["model.latent_dim=2"]).model)
        >>> model = instantiate(config, "model").eval()
        >>> batches = sample_batches(model, model.sample_latents, 10, None, batch_size=4)
        >>> [len(batch.images) for batch in batches]
        [4, 4, 2]
    """
    cycle = None
    if model.num_classes is not None:
        labels_used = range(model.num_classes) if classes is None else classes
        cycle = torch.tensor(list(labels_used), device=model.device)
    start = 0
    for latents in _latents(draw, count, batch_size):
        labels = None
        if cycle is not None:
            indices = torch.arange(start, start + len(latents), device=model.device)
            labels = cycle[indices % len(cycle)]
        images = to_uint8(model.mean_images(latents, labels))
        yield SampleBatch(images.cpu(), latents.cpu(), None if labels is None else labels.cpu())
        start += len(latents)


def _latents(draw: DrawLatents, count: int, size: int) -> Iterator[Tensor]:
    drawn = draw(_DRAWN)
    for start in range(0, count, size):
        wanted = min(size, count - start)
        missing = wanted - len(drawn)
        drawn = torch.cat([drawn, *(draw(_DRAWN) for _ in range(0, missing, _DRAWN))])
        yield drawn[:wanted]
        drawn = drawn[wanted:]
