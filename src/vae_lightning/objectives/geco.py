"""GECO: the rate is minimised under a constraint on the distortion."""

import math

import torch
from torch import Tensor

from vae_lightning.models.trace import Trace
from vae_lightning.objectives.objective import Objective
from vae_lightning.objectives.trace_checks import require_density
from vae_lightning.utils.checks import at_least

# Limit of |log lambda|, so that the loss does not overflow if the target cannot be reached.
_LOG_LIMIT = math.log(1e4)


class GECO(Objective):
    r"""Minimise the rate subject to a mean distortion, with a learned Lagrange multiplier.

    .. math:: \min_{\theta, \phi} \max_{\lambda > 0}\;
              \mathrm{KL}(q(z|x) \,\|\, p(z)) + \lambda\, (C - \kappa), \quad
              C = \mathbb{E}_{q(z|x)} [-\log p(x|z)]

    Each training step adds :math:`\nu` times a moving average of the constraint
    :math:`C - \kappa`, in nats, to :math:`\log \lambda`. The value of the loss contains the
    average, its gradient is that of the batch. The initial multiplier is 1: with target 0 and
    :math:`\nu = 0` this is minus the ELBO.

    Args:
        num_samples: K, number of posterior samples that estimate the expectation.
        target: kappa, the required mean distortion, in nats per image.
        step_size: nu, per nat.
        averaging: decay of the moving average, in [0, 1).

    Attributes:
        log_multiplier: the logarithm of lambda.
        constraint: the moving average, in nats per image.

    Raises:
        ValueError: `num_samples` below 1, `step_size` below 0, `averaging` not in [0, 1).

    References:
        Rezende and Viola, "Taming VAEs", 2018. https://arxiv.org/abs/1810.00597

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> from vae_lightning.models.trace import Latent, Trace
        >>> x = torch.rand(8, 1, 28, 28)
        >>> posterior = Independent(Normal(torch.zeros(8, 2, requires_grad=True), 1.0), 1)
        >>> prior = Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> latent = Latent(posterior.rsample((1,)), posterior, prior)
        >>> trace = Trace(x, [latent], Independent(Normal(torch.zeros(1, 8, 1, 28, 28), 1.0), 3))
        >>> objective = GECO(num_samples=1, target=90.0, step_size=2e-5, averaging=0.99)
        >>> loss, parts = objective(trace, step=0)
        >>> parts["multiplier"]
        tensor(1.)
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
        # Weight of the moving average in the next step: 0 in the first step.
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
