"""Normalizing flows: simple noise, pushed through invertible functions."""

import importlib
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution, Transform
from torch.nn.functional import linear

from vae_lightning.distributions.divergence import DrawnWithDensity

# Of an untrained step's last weights: at 0 the layers before it would get no gradient.
_NEARLY_NOTHING = 0.01


class FlowDistribution(DrawnWithDensity):
    r"""A distribution pushed through an invertible function.

    .. math:: z = f(u), \quad u \sim p(u), \quad
        \log p(z) = \log p(u) - \log \Big| \det \frac{\partial f(u)}{\partial u} \Big|

    Args:
        base: p(u).
        transform: f, one of zuko's, of whole events.

    Shape:
        those of the base.
    """

    has_rsample = True
    arg_constraints: ClassVar = {}

    def __init__(self, base: Distribution, transform: Transform) -> None:
        self.base = base
        self.transform = transform
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Where the base's mean goes: a central point. The mean itself has no formula."""
        return self.transform(self.base.mean)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw reparameterised samples, (*sample_shape, *batch, *event)."""
        return self.transform(self.base.rsample(Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density, in nats; broadcast against the batch."""
        u, log_slope = self.transform.inv.call_and_ladj(value)  # type: ignore[attr-defined]
        return self.base.log_prob(u) + log_slope

    def rsample_and_log_prob(self, sample_shape: Size) -> tuple[Tensor, Tensor]:
        u = self.base.rsample(sample_shape)
        z, log_slope = self.transform.call_and_ladj(u)  # type: ignore[attr-defined]
        return z, self.base.log_prob(u) - log_slope


@torch.no_grad()
def start_near_identity(steps: nn.ModuleList) -> None:
    """Shrink the last layer of each step of a flow: all parameters at 0 make it the identity."""
    for step in steps:
        *_, last = step.modules()
        for parameter in last.parameters():
            parameter.mul_(_NEARLY_NOTHING)


def conditioned(steps: nn.ModuleList, context: Tensor) -> Transform:
    """The autoregressive affine steps of a flow, given a context.

    The same as zuko makes of them, but that a step's first layer is applied to a context once, and
    not again with each point: where many points share a context, as samples of one posterior do,
    that is most of the work.

    Args:
        steps: zuko's, of events (D,) and contexts (F,), each with a hidden layer at least.
        context: (*batch, F), of the batch of the distribution that is pushed.
    """
    return zuko("transforms").ComposedTransform(*[_conditioned(step, context) for step in steps])


def _conditioned(step: Any, context: Tensor) -> Transform:
    if not isinstance(step, zuko("flows").MaskedAutoregressiveTransform):  # of one dimension
        return step(context)
    transforms = zuko("transforms")
    first, *others = step.hyper
    of_point, of_context = (first.mask * first.weight).tensor_split([-context.shape[-1]], dim=1)
    shared = linear(context, of_context, first.bias)

    def given(point: Tensor) -> Transform:
        hidden = linear(point, of_point) + shared
        for layer in others:
            hidden = layer(hidden)
        shift, scale = hidden.unflatten(-1, (-1, 2)).unbind(-1)
        return transforms.DependentTransform(transforms.MonotonicAffineTransform(shift, scale), 1)

    return transforms.AutoregressiveTransform(given, step.passes)


def zuko(module: str) -> ModuleType:
    """A module of zuko, by its name within it.

    Raises:
        ImportError: zuko is not installed; the message says how it will be.
    """
    checked = Distribution._validate_args
    try:
        return importlib.import_module(f"zuko.{module}")
    except ModuleNotFoundError as error:
        raise ImportError(
            "needs zuko, which is not installed: pip install 'vae-lightning[flows]'"
        ) from error
    finally:
        # Importing it stops torch from checking the arguments of anybody's distributions.
        Distribution.set_default_validate_args(checked)
