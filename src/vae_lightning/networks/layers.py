"""Layers of the networks: activations, batch normalisation, and the range of the pixels."""

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
    r"""A linear layer and its activation.

    .. math:: f(h), \quad \text{or} \quad h \odot \sigma(g) \;\text{if gated}

    where h and g are linear in the input; one layer of twice the width computes both.

    Args:
        linear: given its width, makes the layer.
        width: of the result.
        activation: name of the function f, or `gated`.
        dim: the dimension of the layer's outputs.

    Example:
        >>> activated(partial(nn.Linear, 5), 3, "gated", dim=-1)
        [Linear(in_features=5, out_features=6, bias=True), GLU(dim=-1)]

    References:
        Dauphin et al., "Language Modeling with Gated Convolutional Networks", 2017,
        https://arxiv.org/abs/1612.08083.
        Tomczak and Welling, "VAE with a VampPrior", 2018, https://arxiv.org/abs/1705.07120.
    """
    if activation == "gated":
        return [linear(2 * width), nn.GLU(dim)]
    return [linear(width), _ELEMENTWISE[activation]()]


def elementwise(activation: Elementwise) -> nn.Module:
    """The function as a module that does not work in place."""
    return nn.ReLU() if activation == "relu" else _ELEMENTWISE[activation]()


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that normalises a single row by the running averages.

    The last batch of an epoch may be one image, which has no variance.

    Shape:
        (N, F); returns the same.

    References:
        Ioffe and Szegedy, "Batch Normalization", 2015, https://arxiv.org/abs/1502.03167.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and len(input) == 1:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


class InputRange(nn.Module):
    """Maps pixels linearly from [0, 1] to another range.

    Args:
        input_range: the values that 0 and 1 are mapped to.

    Shape:
        any; returns the same.

    Raises:
        ValueError: not two different numbers.

    Example:
        >>> import torch
        >>> InputRange((-1, 1))(torch.tensor([0.0, 0.25, 1.0]))
        tensor([-1.0000, -0.5000,  1.0000])
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
