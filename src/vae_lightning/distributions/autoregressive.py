"""Autoregressive steps of a flow. Import zuko first by `flows.zuko`: use `flows.conditioned`."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Transform
from torch.nn.functional import linear
from zuko.flows import MaskedAutoregressiveTransform
from zuko.transforms import AutoregressiveTransform, DependentTransform
from zuko.utils import unpack


def step_given(step: Any, context: Tensor | None) -> Transform:
    """A step of a flow, given a context (*batch, F) or None."""
    if isinstance(step, MaskedAutoregressiveTransform):
        return _Autoregressive(step, context)
    return step(context)  # of one dimension


class _Autoregressive(AutoregressiveTransform):
    """A transform of each dimension whose parameters depend on the dimensions before it.

    Args:
        step: the lazy transform of zuko, with at least one hidden layer.
        context: (*batch, F), or None.
    """

    def __init__(self, step: Any, context: Tensor | None) -> None:
        super().__init__(self._given, step.passes)
        self.step = step
        first, *self.hidden, self.last = step.hyper
        weight = first.mask * first.weight
        features = 0 if context is None else context.shape[-1]
        self.of_point = weight[:, : weight.shape[1] - features]
        # Applied to the context once, for all points.
        self.offset = first.bias
        if context is not None:
            self.offset = linear(context, weight[:, -features:], first.bias)

    def _given(self, point: Tensor, dimensions: Tensor | None = None) -> Transform:
        """The transform of each dimension, or of some, given those before it."""
        hidden = linear(point, self.of_point) + self.offset
        for layer in self.hidden:
            hidden = layer(hidden)
        # A row for each parameter of each dimension.
        weight = (self.last.mask * self.last.weight).unflatten(0, (-1, self.step.total))
        bias = self.last.bias.unflatten(0, (-1, self.step.total))
        if dimensions is not None:
            weight, bias = weight[dimensions], bias[dimensions]
        parameters = linear(hidden, weight.flatten(0, 1), bias.flatten())
        parts = unpack(parameters.unflatten(-1, (-1, self.step.total)), self.step.shapes)
        return DependentTransform(self.step.univariate(*parts), 1)

    def _inverse(self, y: Tensor) -> Tensor:
        x = torch.zeros_like(y)
        # Each pass finds the dimensions of one group: those before it are known. Computing all
        # of them each time, as zuko does, takes D times the splines.
        for dimensions in self._groups():
            found = self._given(x, dimensions).inv(y[..., dimensions])
            x = x.expand(found.shape[:-1] + x.shape[-1:])  # a context may have a batch
            x = x.index_copy(-1, dimensions, found)
        return x

    def _groups(self) -> list[Tensor]:
        """The dimensions that each pass of the inverse finds, in the order of the passes."""
        order = self.step.order
        size = math.ceil(len(order) / self.passes)
        return list(order.argsort(stable=True).split(size))
