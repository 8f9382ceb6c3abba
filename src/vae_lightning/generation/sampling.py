"""Any number of samples in constant memory, a block at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_lightning.models import Model

# Draws so many latents, (N, D).
Draw = Callable[[int], Tensor]

# Latents drawn at once, the last ones too: part of what a seed means, so that no image depends on
# how many there are, nor on how many are decoded at once.
_DRAWN = 500


@dataclass(frozen=True)
class Block:
    """Some samples, on the CPU.

    Attributes:
        images: uint8 (B, C, H, W).
        latents: (B, D).
        labels: int64 (B,), of a conditional model.
    """

    images: Tensor
    latents: Tensor
    labels: Tensor | None


@torch.no_grad()
def sampled(
    model: Model, draw: Draw, count: int, classes: Sequence[int] | None, block_size: int
) -> Iterator[Block]:
    """Draw latents and decode them, block by block; the noise is torch's own.

    Args:
        model: in evaluation mode.
        draw: makes latents, in the form of `model.latent_means`.
        count: of images in all.
        classes: of a conditional model: the labels, each in turn; None takes all.
        block_size: images decoded at once.
    """
    cycle = None
    if model.num_classes is not None:
        chosen = range(model.num_classes) if classes is None else classes
        cycle = torch.tensor(list(chosen), device=model.device)
    start = 0
    for latents in _latents(draw, count, block_size):
        labels = None
        if cycle is not None:
            places = torch.arange(start, start + len(latents), device=model.device)
            labels = cycle[places % len(cycle)]
        images = as_bytes(model.mean_images(latents, labels))
        yield Block(images.cpu(), latents.cpu(), None if labels is None else labels.cpu())
        start += len(latents)


def _latents(draw: Draw, count: int, size: int) -> Iterator[Tensor]:
    held = draw(_DRAWN)
    for start in range(0, count, size):
        wanted = min(size, count - start)
        missing = wanted - len(held)
        held = torch.cat([held, *(draw(_DRAWN) for _ in range(0, missing, _DRAWN))])
        yield held[:wanted]
        held = held[wanted:]


def as_bytes(images: Tensor) -> Tensor:
    """The nearest grey values; what is darker than black or lighter than white is cut.

    The images are overwritten: new memory takes longer to touch than the arithmetic does.

    Shape:
        images (*), 0 black to 1 white; returns uint8 (*).
    """
    return images.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
