"""Cropping and scaling images."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.utils.blocks import images_at_once


def resize(images: Tensor, size: int) -> Tensor:
    """Scale images to `size` by `size` pixels, bilinearly with antialiasing.

    Shape:
        images uint8 (N, C, H, W); returns uint8 (N, C, size, size).
    """
    if images.shape[-2:] == (size, size):
        return images
    # Channel by channel, so that one large photo of 32-bit floats is not three times as large.
    planes = images.flatten(0, 1).unsqueeze(1)
    larger = max(planes.shape[1:], (1, size, size), key=math.prod)
    parts = [
        F.interpolate(part.float(), (size, size), mode="bilinear", antialias=True)
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        for part in planes.split(images_at_once(larger, most=5000))
    ]
    return torch.cat(parts).reshape(*images.shape[:2], size, size)


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
