"""Base classes of encoders to feature maps and of decoders from them."""

import math
from abc import ABC
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from vae_lightning.networks.layers import InputRange
from vae_lightning.utils.checks import all_at_least

Size = tuple[int, int]


def halved_sizes(image_shape: Sequence[int], channels: Sequence[int]) -> list[Size]:
    """The sizes of the image and of the maps after each halving; odd sizes are rounded up.

    Args:
        image_shape: (C, H, W).
        channels: one width for each halving.

    Raises:
        ValueError: no width, a width below 1, or more halvings than the image allows.

    Example:
        >>> halved_sizes((1, 28, 28), [32, 64, 64])
        [(28, 28), (14, 14), (7, 7), (4, 4)]
    """
    all_at_least("channels", channels, 1)
    if not channels:
        raise ValueError("channels=[] must have one number for each halving of the image")
    _, height, width = image_shape
    sizes = [(height, width)]
    for _ in channels:
        if min(sizes[-1]) == 1:
            raise ValueError(
                f"channels={list(channels)} has {len(channels)} halvings, but an image of "
                f"{height} x {width} allows {len(sizes) - 1}: give at most as many numbers"
            )
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


class MapEncoder(nn.Module, ABC):
    """The base class of encoders whose features are flattened maps.

    Args:
        input_range: the range that pixels in [0, 1] are mapped to before the first layer.
        layers: from the mapped pixels to the maps.
        map_shape: (E, h, w) of the maps.

    Attributes:
        map_shape: (E, h, w).
        out_features: F = E*h*w.

    Shape:
        images (B, C, H, W) in [0, 1]; returns (B, F).

    Raises:
        ValueError: a range that is not two different numbers.
    """

    def __init__(
        self, input_range: Sequence[float], layers: Sequence[nn.Module], map_shape: Sequence[int]
    ) -> None:
        super().__init__()
        self.input_range = InputRange(input_range)
        self.layers = nn.Sequential(*layers)
        self.map_shape = tuple(map_shape)
        self.out_features = math.prod(map_shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.input_range(x)).flatten(1)


def from_latents(latent_dim: int | Sequence[int], size: Size) -> Callable[[int], nn.Module]:
    """A factory, given the width, of the layer from latents to maps.

    Args:
        latent_dim: D, number of latent dimensions; or (E, h, w) for latent maps.
        size: (h, w) of the maps.

    Raises:
        ValueError: latent maps of another size.
    """
    if isinstance(latent_dim, int):
        return lambda width: nn.Sequential(
            nn.Linear(latent_dim, width * math.prod(size)), nn.Unflatten(1, (width, *size))
        )
    features, *latent_size = latent_dim
    if tuple(latent_size) != size:
        raise ValueError(
            f"latent maps of {latent_size[0]} x {latent_size[1]} do not fit a decoder whose "
            f"smallest maps are {size[0]} x {size[1]}: give encoder and decoder as many channels"
        )
    return partial(nn.Conv2d, features, kernel_size=3, padding=1)


class MapDecoder(nn.Module, ABC):
    """The base class of decoders from latents to maps of the image's size.

    Args:
        latent_dim: D, number of latent dimensions; or (E, h, w) for latent maps.
        layers: the first from latents to the smallest maps, the others from those to the output.
        out_features: (F, H, W) of the output.

    Attributes:
        out_features: (F, H, W).

    Shape:
        z (..., D) or (..., E, h, w); returns (..., F, H, W).
    """

    def __init__(
        self,
        latent_dim: int | Sequence[int],
        layers: Sequence[nn.Module],
        out_features: Sequence[int],
    ) -> None:
        super().__init__()
        self.latent_axes = 1 if isinstance(latent_dim, int) else len(latent_dim)
        self.first = layers[0]
        self.layers = nn.Sequential(*layers[1:])
        self.out_features = tuple(out_features)

    def forward(self, z: Tensor) -> Tensor:
        leading, latent = z.shape[: -self.latent_axes], z.shape[-self.latent_axes :]
        maps = self.first(z.reshape(-1, *latent))
        # Transposed convolutions take half the time on a CPU in this memory format.
        maps = self.layers(maps.contiguous(memory_format=torch.channels_last))
        return maps.reshape(*leading, *maps.shape[1:])
