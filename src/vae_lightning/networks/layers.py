"""What the networks are made of: activations, normalisation, and the range of the pixels."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

Elementwise = Literal["elu", "gelu", "leaky_relu", "relu", "silu", "softplus", "tanh"]
Activation = Literal[Elementwise, "gated"]

_ELEMENTWISE: dict[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "relu": partial(nn.ReLU, inplace=True),
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


def activated(
    linear: Callable[[int], nn.Module], width: int, activation: Activation, dim: int
) -> list[nn.Module]:
    r"""A linear layer and what comes after it.

    .. math:: f(h), \quad \text{or} \quad h \odot \sigma(g) \;\text{where it is gated}

    with h and g linear in the input, both made by one layer of twice the width.

    Args:
        linear: makes the layer, from its width.
        width: of the result.
        activation: name of the function f, or `gated`.
        dim: along which the layer's outputs lie.

    References:
        Dauphin et al., "Language Modeling with Gated Convolutional Networks", 2017.
        Tomczak and Welling, "VAE with a VampPrior", 2018.
    """
    if activation == "gated":
        return [linear(2 * width), nn.GLU(dim)]
    return [linear(width), _ELEMENTWISE[activation]()]


def elementwise(activation: Elementwise) -> nn.Module:
    """The function by itself, for an input that something else still needs."""
    return nn.ReLU() if activation == "relu" else _ELEMENTWISE[activation]()


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that takes a single row, too: by the running averages.

    The last batch of an epoch may be one image, whose variance is none.

    Shape:
        (N, F); returns the same.

    References:
        Ioffe and Szegedy, "Batch Normalization", 2015.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and len(input) == 1:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


class InputRange(nn.Module):
    """Maps pixels from [0, 1] to another range.

    Args:
        input_range: what 0 and 1 become.

    Raises:
        ValueError: not two different numbers.
    """

    def __init__(self, input_range: Sequence[float]) -> None:
        super().__init__()
        if len(input_range) != 2 or input_range[0] == input_range[1]:
            raise ValueError(f"input_range={list(input_range)} must be two different numbers")
        self.low, self.high = input_range

    def forward(self, x: Tensor) -> Tensor:
        if (self.low, self.high) == (0, 1):
            return x
        return self.low + (self.high - self.low) * x
