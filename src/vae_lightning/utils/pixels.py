"""Pixels as bytes, 0 to 255, and as floats, 0 to 1."""

import torch
from torch import Tensor


def to_float(images: Tensor, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Convert bytes to floats in [0, 1] on a device.

    Shape:
        images uint8 (*); returns (*).

    Example:
        >>> to_float(torch.tensor([0, 51, 255], dtype=torch.uint8), torch.device("cpu"))
        tensor([0.0000, 0.2000, 1.0000])
    """
    return images.to(device, dtype).div_(255)


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
