"""The last linear layer of a decoder, from features to the parameters of each pixel."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MapHead(nn.Module):
    """A linear layer with the same weights for all pixels (a 1x1 convolution) and a bias for each.

    Args:
        in_features: (F, H, W).
        image_shape: (C, H, W).
        numbers: n, number of parameters of each pixel and channel.

    Shape:
        maps (..., F, H, W); returns (..., n*C*H*W), the first parameter of all pixels before the
        second.

    Raises:
        ValueError: the maps do not have the size of the image.
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
    """The layer for the features of a decoder: dense for a vector, a `MapHead` for maps.

    Args:
        in_features: F, or (F, H, W).
        image_shape: (C, H, W).
        numbers: n, number of parameters of each pixel and channel.

    Shape:
        returns a layer from (..., F) or (..., F, H, W) to (..., n*C*H*W), with a `bias` of that
        size.
    """
    if isinstance(in_features, int):
        return nn.Linear(in_features, numbers * math.prod(image_shape))
    return MapHead(in_features, image_shape, numbers)
