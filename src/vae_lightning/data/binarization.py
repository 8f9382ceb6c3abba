"""Grey pixels to black or white ones: the part of the data protocol that results depend on."""

from typing import Literal

import torch
from torch import Tensor

from vae_lightning.utils.blocks import images_at_once

Binarize = Literal["none", "threshold", "fixed", "dynamic"]


def threshold(images: Tensor) -> Tensor:
    """Set a pixel to white if it is at least one half, otherwise to black.

    Shape:
        images uint8 of any shape; returns the same shape, 0 or 255.

    Example:
        >>> threshold(torch.tensor([0, 127, 128, 255], dtype=torch.uint8))
        tensor([  0,   0, 255, 255], dtype=torch.uint8)
    """
    return (images > 127).to(torch.uint8).mul_(255)


def fixed(images: Tensor, seed: int) -> Tensor:
    """Draw each pixel once, white with its grey value as the probability.

    Noise is drawn on the CPU, image after image, so the result is the same on every device and
    does not depend on a batch size.

    Shape:
        images uint8 (N, C, H, W); returns the same shape, 0 or 255, on the images' device.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.empty_like(images)
    block = images_at_once(images.shape[1:], most=1000)  # bounds the memory of the noise
    for part, target in zip(images.split(block), drawn.split(block), strict=True):
        noise = torch.rand(part.shape, generator=generator).to(part.device)
        target.copy_((noise * 255 < part).to(torch.uint8).mul_(255))
    return drawn


def dynamic(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw each pixel, white with its grey value as the probability; each call draws anew.

    Shape:
        x float in [0, 1] of any shape; returns the same shape, 0 or 1.
    """
    return (torch.rand(x.shape, generator=generator, device=x.device) < x).to(x.dtype)
