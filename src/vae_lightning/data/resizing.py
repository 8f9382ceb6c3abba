"""Cropping and scaling images."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.utils.blocks import images_at_once
from vae_lightning.utils.image_size import height_and_width


def resize(images: Tensor, size: int | Sequence[int]) -> Tensor:
    """Scale images bilinearly with antialiasing.

    Args:
        images: to scale.
        size: height and width, or one number for both.

    Shape:
        images uint8 (N, C, H, W); returns uint8 (N, C, H', W').
    """
    sides = height_and_width(size)
    if images.shape[-2:] == sides:
        return images
    # Channel by channel, so that one large photo of 32-bit floats is not three times as large.
    planes = images.flatten(0, 1).unsqueeze(1)
    larger = max(planes.shape[1:], (1, *sides), key=math.prod)
    parts = [
        F.interpolate(part.float(), sides, mode="bilinear", antialias=True)
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        for part in planes.split(images_at_once(larger, most=5000))
    ]
    return torch.cat(parts).reshape(*images.shape[:2], *sides)


def center_crop(image: Tensor, size: int | Sequence[int]) -> Tensor:
    """Crop the largest rectangle of a format around the centre of an image.

    Args:
        image: to crop.
        size: height and width whose ratio the rectangle has, or one number for a square.

    Shape:
        image (..., H, W); returns (..., H', W').

    Example:
        >>> center_crop(torch.zeros(3, 40, 100), 28).shape
        torch.Size([3, 40, 40])
        >>> center_crop(torch.zeros(3, 40, 100), (48, 64)).shape
        torch.Size([3, 40, 53])
    """
    height, width = image.shape[-2:]
    target_height, target_width = height_and_width(size)
    if height * target_width > width * target_height:
        height = max(1, round(width * target_height / target_width))
    else:
        width = max(1, round(height * target_width / target_height))
    return center_window(image, (height, width))


def center_window(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Crop a window around the centre of an image, which is at least as large.

    Shape:
        image (..., H, W); returns (..., *size).
    """
    top, left = ((side - wanted) // 2 for side, wanted in zip(image.shape[-2:], size, strict=True))
    return image[..., top : top + size[0], left : left + size[1]]


def crop_and_resize(image: Tensor, size: int | Sequence[int]) -> Tensor:
    """Crop the largest rectangle of a format around the centre of an image, and scale it.

    Shape:
        image uint8 (C, H, W); returns uint8 (C, *size).
    """
    return resize(center_crop(image, size)[None], size)[0]
