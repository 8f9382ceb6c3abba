"""Pixels as bytes, 0 to 255, and as floats, 0 to 1."""

import torch
from torch import Tensor


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


def to_uint8(images: Tensor) -> Tensor:
    """Convert floats to the nearest bytes, clipped at 0 and 1; bytes are returned as they are.

    Shape:
        images (*), 0 black to 1 white, or uint8; returns uint8 (*).

    Example:
        >>> to_uint8(torch.tensor([-0.3, 0.0, 0.5, 1.2]))
        tensor([  0,   0, 128, 255], dtype=torch.uint8)
    """
    if images.dtype == torch.uint8:
        return images
    return images.mul(255).round_().clamp_(0, 255).to(torch.uint8)
