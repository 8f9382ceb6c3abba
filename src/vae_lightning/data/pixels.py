"""Pixels as bytes, as they are stored, and as floats in [0, 1], as models take them."""

import torch
from torch import Tensor
from torch.nn import functional as F


def to_float(
    images: Tensor,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Convert bytes to floats in [0, 1].

    The bytes are moved to `device` (None: where they are) before they are converted, because
    they take a quarter of the memory.

    Shape:
        images uint8 of any shape; returns the same shape.

    Example:
        >>> to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
        tensor([0.0000, 0.2000, 1.0000])
    """
    return images.to(device or images.device, dtype).div_(255)


def resize(images: Tensor, size: int) -> Tensor:
    """Scale images to `size` by `size` pixels, bilinearly with antialiasing.

    Shape:
        images uint8 (N, C, H, W); returns uint8 (N, C, size, size).
    """
    if images.shape[-2:] == (size, size):
        return images
    parts = [
        F.interpolate(part.float(), (size, size), mode="bilinear", antialias=True)
        for part in images.split(5000)
    ]
    return torch.cat([part.round().clamp(0, 255).to(torch.uint8) for part in parts])


def center_square(image: Tensor) -> Tensor:
    """Crop the largest square around the centre of an image.

    Shape:
        image (..., H, W); returns (..., S, S) with S the smaller of the two.
    """
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[..., top : top + side, left : left + side]


def crop_and_resize(image: Tensor, size: int) -> Tensor:
    """Crop the largest square around the centre of an image and scale it.

    Shape:
        image uint8 (C, H, W); returns uint8 (C, size, size).
    """
    return resize(center_square(image)[None], size)[0]
