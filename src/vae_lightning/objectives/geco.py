"""The least rate at which the distortion is as low as asked for."""

import math

import torch
from torch import Tensor

from vae_lightning.models.trace import Trace
from vae_lightning.objectives.objective import Objective
from vae_lightning.objectives.trace_checks import require_density
from vae_lightning.utils.checks import at_least

# The multiplier stays within these powers of e, lest a target out of reach make the loss overflow.
_LOG_LIMIT = math.log(1e4)


class GECO(Objective):
    r"""Minimises the rate subject to a mean distortion, by a Lagrange multiplier that learns.

    .. math:: \min_{\theta, \phi} \max_{\lambda > 0}\;
              \mathrm{KL}(q(z|x) \,\|\, p(z)) + \lambda\, (C - \kappa), \quad
              C = \mathbb{E}_{q(z|x)} [-\log p(x|z)]

    After each training step :math:`\log \lambda` rises by :math:`\nu` for each nat by which a
    moving average of the constraint :math:`C - \kappa` is too high, and falls where it is too low.
    The value of the loss has that average, its gradient is of the batch. The multiplier begins at
    1: with a target of 0 and :math:`\nu = 0` this is the ELBO.

    Args:
        num_samples: K, how many posterior samples estimate the expectation.
        target: kappa, the mean distortion asked for, in nats per image.
        step_size: nu, per nat.
        averaging: how much of the moving average each step keeps, in [0, 1).

    Attributes:
        log_multiplier: the logarithm of lambda.
        constraint: the moving average, in nats per image.

    Raises:
        ValueError: `num_samples` below 1, `step_size` below 0, `averaging` not in [0, 1).

    References:
        Rezende and Viola, "Taming VAEs", 2018.
    """

    log_multiplier: Tensor
    constraint: Tensor
    kept: Tensor

    def __init__(self, num_samples: int, target: float, step_size: float, averaging: float) -> None:
        super().__init__(num_samples)
        if not math.isfinite(target):
            raise ValueError(f"target={target} is out of range: it must be a finite number")
        at_least("step_size", step_size, 0)
        if not 0 <= averaging < 1:
            raise ValueError(f"averaging={averaging} is out of range: it must be from 0, below 1")
        self.target = target
        self.step_size = step_size
        self.averaging = averaging
        self.register_buffer("log_multiplier", torch.zeros(()))
        self.register_buffer("constraint", torch.zeros(()))
        # What the average keeps at the next step: nothing at the first, which has none before it.
        self.register_buffer("kept", torch.zeros(()))

    def loss(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        require_density(trace)
        constraint = trace.distortion.mean() - self.target
        multiplier = self.log_multiplier.exp()
        if self.training:
            before = self.constraint.to(constraint)
            average = torch.lerp(constraint.detach(), before, self.kept.to(constraint))
            self._learn(average)
            constraint = average + (constraint - constraint.detach())
        loss = trace.rate.mean() + multiplier * constraint
        return loss, {"multiplier": multiplier, "constraint": constraint.detach()}

    @torch.no_grad()
    def _learn(self, average: Tensor) -> None:
        self.constraint.copy_(average)
        self.kept.fill_(self.averaging)
        self.log_multiplier.add_(self.step_size * self.constraint).clamp_(-_LOG_LIMIT, _LOG_LIMIT)
