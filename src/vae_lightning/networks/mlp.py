"""Fully connected encoder and decoder."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from vae_lightning.checks import all_at_least

Activation = Literal["elu", "gelu", "leaky_relu", "relu", "silu", "softplus", "tanh"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "relu": partial(nn.ReLU, inplace=True),
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


def _dense(widths: Sequence[int], activation: Activation) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


class MLPEncoder(nn.Module):
    """Dense layers from an image to features.

    Args:
        image_shape: (C, H, W).
        hidden: width of each hidden layer, from the image inwards; empty for a linear encoder.
        activation: name of the function after each hidden layer.
        input_range: what the pixels, in [0, 1], are mapped to before the first layer.

    Attributes:
        out_features: F, width of the last hidden layer.

    Shape:
        images (B, C, H, W) in [0, 1]; returns (B, F).

    Raises:
        ValueError: a width below 1, or a range that is not two different numbers.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        hidden: Sequence[int],
        activation: Activation,
        input_range: Sequence[float],
    ) -> None:
        super().__init__()
        all_at_least("hidden", hidden, 1)
        if len(input_range) != 2 or input_range[0] == input_range[1]:
            raise ValueError(f"input_range={list(input_range)} must be two different numbers")
        self.low, self.high = input_range
        widths = [math.prod(image_shape), *hidden]
        self.layers = _dense(widths, activation)
        self.out_features = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.flatten(1)  # (B, C*H*W)
        if (self.low, self.high) != (0, 1):
            pixels = self.low + (self.high - self.low) * pixels
        return self.layers(pixels)


class MLPDecoder(nn.Module):
    """Dense layers from latents to features; the likelihood makes pixels of them.

    Args:
        latent_dim: D, number of latent dimensions.
        hidden: width of each hidden layer, from the latents outwards; empty for a linear decoder.
        activation: name of the function after each hidden layer.

    Attributes:
        out_features: F, width of the last hidden layer.

    Shape:
        z (..., D); returns (..., F).

    Raises:
        ValueError: a width below 1.
    """

    def __init__(self, latent_dim: int, hidden: Sequence[int], activation: Activation) -> None:
        super().__init__()
        all_at_least("hidden", hidden, 1)
        widths = [latent_dim, *hidden]
        self.layers = _dense(widths, activation)
        self.out_features = widths[-1]

    def forward(self, z: Tensor) -> Tensor:
        rows = z.reshape(-1, z.shape[-1])  # one matrix product, whatever stands in front
        return self.layers(rows).reshape(*z.shape[:-1], self.out_features)
