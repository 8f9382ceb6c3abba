"""Fully connected encoder and decoder."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from vae_lightning.networks.layers import Activation, BatchNorm, InputRange, activated
from vae_lightning.utils.checks import all_at_least


def _dense(widths: Sequence[int], activation: Activation, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        # The normalisation subtracts the mean, so that a bias would cancel, and has its own.
        linear = partial(nn.Linear, fan_in, bias=not batch_norm)
        product, function = activated(linear, fan_out, activation, dim=-1)
        layers.append(product)
        if batch_norm:
            layers.append(BatchNorm(2 * fan_out if activation == "gated" else fan_out))
        layers.append(function)
    return nn.Sequential(*layers)


class MLPEncoder(nn.Module):
    """Dense layers from an image to features.

    Args:
        image_shape: (C, H, W).
        hidden: width of each hidden layer, in order; empty for a linear encoder.
        activation: name of the function after each hidden layer, or `gated`.
        batch_norm: whether each hidden layer has batch normalisation before its activation.
        input_range: the range that pixels in [0, 1] are mapped to before the first layer.

    Attributes:
        out_features: F, width of the last hidden layer.

    Shape:
        images (B, C, H, W) in [0, 1]; returns (B, F).

    Raises:
        ValueError: a width below 1, or a range that is not two different numbers.

    Example:
        >>> import torch
        >>> encoder = MLPEncoder(
        ...     (1, 28, 28), [400], activation="relu", batch_norm=False, input_range=(0, 1)
        ... )
        >>> encoder(torch.rand(8, 1, 28, 28)).shape
        torch.Size([8, 400])
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        hidden: Sequence[int],
        activation: Activation,
        batch_norm: bool,
        input_range: Sequence[float],
    ) -> None:
        super().__init__()
        all_at_least("hidden", hidden, 1)
        self.input_range = InputRange(input_range)
        widths = [math.prod(image_shape), *hidden]
        self.layers = _dense(widths, activation, batch_norm)
        self.out_features = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.input_range(x.flatten(1)))


class MLPDecoder(nn.Module):
    """Dense layers from latents to features.

    Args:
        latent_dim: D, number of latent dimensions; or (E, h, w) for latent maps.
        hidden: width of each hidden layer, in order; empty for a linear decoder.
        activation: name of the function after each hidden layer, or `gated`.
        batch_norm: whether each hidden layer has batch normalisation before its activation.

    Attributes:
        out_features: F, width of the last hidden layer.

    Shape:
        z (..., D) or (..., E, h, w); returns (..., F).

    Raises:
        ValueError: a width below 1.

    Example:
        >>> import torch
        >>> decoder = MLPDecoder(20, [400], activation="relu", batch_norm=False)
        >>> decoder(torch.randn(5, 8, 20)).shape
        torch.Size([5, 8, 400])
    """

    def __init__(
        self,
        latent_dim: int | Sequence[int],
        hidden: Sequence[int],
        activation: Activation,
        batch_norm: bool,
    ) -> None:
        super().__init__()
        all_at_least("hidden", hidden, 1)
        shape = [latent_dim] if isinstance(latent_dim, int) else latent_dim
        self.latent_axes = len(shape)
        widths = [math.prod(shape), *hidden]
        self.layers = _dense(widths, activation, batch_norm)
        self.out_features = widths[-1]

    def forward(self, z: Tensor) -> Tensor:
        z = z.flatten(-self.latent_axes)
        rows = z.reshape(-1, z.shape[-1])  # one matrix product
        return self.layers(rows).reshape(*z.shape[:-1], self.out_features)
