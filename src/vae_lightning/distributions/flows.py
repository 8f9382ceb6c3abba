"""Normalizing flows: invertible transformations of a simple base distribution."""

import importlib
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution, Transform

from vae_lightning.distributions.sampling import RsampleAndLogProb
from vae_lightning.utils.blocks import in_blocks

# Scale of the last layer of an untrained step. At 0 the layers before it would get no gradient.
_INITIAL_SCALE = 0.01


class FlowDistribution(RsampleAndLogProb):
    r"""A base distribution, transformed by an invertible function.

    .. math:: z = f(u), \quad u \sim p(u), \quad
        \log p(z) = \log p(u) - \log \Big| \det \frac{\partial f(u)}{\partial u} \Big|

    As `zuko.distributions.NormalizingFlow`, but with a `mean`, and without importing zuko,
    which other parts do not need.

    Args:
        base: p(u).
        transform: f, a transform of zuko that acts on whole events.

    Shape:
        batch and event shape of the base.
    """

    has_rsample = True
    arg_constraints: ClassVar = {}

    def __init__(self, base: Distribution, transform: Transform) -> None:
        self.base = base
        self.transform = transform
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """F at the mean of the base: a central point. The mean itself has no closed form."""
        return self.transform(self.base.mean)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw reparameterised samples, (*sample_shape, *batch, *event)."""
        return self.transform(self.base.rsample(Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats, broadcast against the batch."""
        if self.batch_shape:
            return self._score(value)
        rows = value.reshape(-1, *self.event_shape)
        return in_blocks(self._score, rows).reshape(value.shape[:-1])

    def _score(self, value: Tensor) -> Tensor:
        u, ladj = self.transform.inv.call_and_ladj(value)  # type: ignore[attr-defined]
        return self.base.log_prob(u) + ladj

    def rsample_and_log_prob(self, sample_shape: Size) -> tuple[Tensor, Tensor]:
        u = self.base.rsample(sample_shape)
        z, ladj = self.transform.call_and_ladj(u)  # type: ignore[attr-defined]
        return z, self.base.log_prob(u) - ladj


@torch.no_grad()
def start_near_identity(steps: nn.ModuleList) -> None:
    """Shrink the last layer of each step of a flow; at 0 a step is the identity."""
    for step in steps:
        *_, last = step.modules()
        for parameter in last.parameters():
            parameter.mul_(_INITIAL_SCALE)


def conditioned(steps: nn.ModuleList, context: Tensor | None) -> Transform:
    """The autoregressive steps of a flow, given a context.

    The result is that of zuko's lazy transforms. The first layer of each step is applied to the
    context once, and not again for each point: where many points have the same context, as samples
    of one posterior do, that is most of the work. The inverse computes in each pass only the
    dimensions that the pass is for.

    Args:
        steps: lazy transforms of zuko, of events (D,) and contexts (F,), with at least one hidden
            layer each.
        context: (*batch, F), with the batch shape of the base distribution; None for a flow without
            context.
    """
    transforms = zuko("transforms")
    from vae_lightning.distributions.autoregressive import step_given

    return transforms.ComposedTransform(*[step_given(step, context) for step in steps])


def zuko(module: str) -> ModuleType:
    """Import a module of zuko where it is used, and leave the checks of other distributions on.

    Args:
        module: its name within zuko, such as `flows`.
    """
    checked = Distribution._validate_args
    try:
        return importlib.import_module(f"zuko.{module}")
    finally:
        # Importing zuko switches off the argument checks of all distributions in the process.
        Distribution.set_default_validate_args(checked)
