"""The last linear layer of a decoder: from its features to so many numbers for each pixel."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MapHead(nn.Module):
    """A linear layer that all pixels share, with a bias of each pixel's own.

    Args:
        in_features: (F, H, W).
        image_shape: (C, H, W).
        numbers: n, how many for each pixel and channel.

    Shape:
        maps (..., F, H, W); returns (..., n*C*H*W), all of the first number before the second.

    Raises:
        ValueError: the maps are not of the image's size.
    """

    def __init__(
        self, in_features: Sequence[int], image_shape: Sequence[int], numbers: int
    ) -> None:
        super().__init__()
        features, *size = in_features
        channels, *image_size = image_shape
        if size != image_size:
            raise ValueError(f"the decoder's maps of {size} do not fit images of {image_size}")
        self.shared = nn.Linear(features, numbers * channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(numbers * math.prod(image_shape)))

    def forward(self, maps: Tensor) -> Tensor:
        pixels = torch.matmul(self.shared.weight, maps.flatten(-2))  # (..., n*C, H*W)
        return pixels.flatten(-2) + self.bias


def pixel_head(
    in_features: int | Sequence[int], image_shape: Sequence[int], numbers: int
) -> nn.Linear | MapHead:
    """The layer for a decoder's features: dense for a vector, shared by the pixels for maps.

    Args:
        in_features: F, or (F, H, W).
        image_shape: (C, H, W).
        numbers: n, how many for each pixel and channel.

    Shape:
        makes a layer from (..., F) or (..., F, H, W) to (..., n*C*H*W), with a `bias` of that size.
    """
    if isinstance(in_features, int):
        return nn.Linear(in_features, numbers * math.prod(image_shape))
    return MapHead(in_features, image_shape, numbers)
