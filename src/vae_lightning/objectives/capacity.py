"""A rate that is constrained to a capacity."""

from torch import Tensor

from vae_lightning.models.trace import Trace
from vae_lightning.objectives.objective import Objective
from vae_lightning.objectives.schedules import Schedule
from vae_lightning.objectives.trace_checks import (
    require_density,
    require_fixed_prior,
    require_single_layer,
)
from vae_lightning.utils.checks import at_least


class Capacity(Objective):
    r"""Distortion, and the distance of the mean rate from a capacity that grows in training.

    .. math:: \mathcal{L} = \mathbb{E}_{q(z|x)} [-\log p(x|z)]
              + \gamma\, |\mathrm{KL}(q(z|x) \,\|\, p(z)) - C_t|

    With capacity 0 and gamma = 1 this is minus the ELBO.

    Args:
        num_samples: K, number of posterior samples that estimate the expectation.
        gamma: weight of the difference.
        capacity: C at the end of the schedule, in nats per image.
        schedule: factor of the capacity at each step.

    Raises:
        ValueError: `num_samples` below 1, `gamma` or `capacity` below 0.

    References:
        Burgess, Higgins, Pal, Matthey, Watters, Desjardins and Lerchner, "Understanding
        Disentangling in beta-VAE", 2018. https://arxiv.org/abs/1804.03599

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> from vae_lightning.models.trace import Latent, Trace
        >>> x = torch.rand(8, 1, 28, 28)
        >>> posterior = Independent(Normal(torch.zeros(8, 2, requires_grad=True), 1.0), 1)
        >>> prior = Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> latent = Latent(posterior.rsample((1,)), posterior, prior)
        >>> trace = Trace(x, [latent], Independent(Normal(torch.zeros(1, 8, 1, 28, 28), 1.0), 3))
        >>> from vae_lightning.objectives.schedules import Linear
        >>> objective = Capacity(1, gamma=1000.0, capacity=25.0, schedule=Linear(4300))
        >>> loss, parts = objective(trace, step=0)
        >>> loss.shape
        torch.Size([])
    """

    def __init__(self, num_samples: int, gamma: float, capacity: float, schedule: Schedule) -> None:
        super().__init__(num_samples)
        at_least("gamma", gamma, 0)
        at_least("capacity", capacity, 0)
        self.gamma = gamma
        self.capacity = capacity
        self.schedule = schedule

    def loss(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        require_density(trace)
        # Below the capacity, training increases the rate by making a learned prior worse. With
        # several layers, the priors of the lower ones are learned.
        latent = require_single_layer(trace, "a capacity")
        require_fixed_prior(latent, "a capacity would spoil", ", or objective=elbo")
        missing = (trace.rate.mean() - self.capacity * self.schedule.at(step)).abs()
        return trace.distortion.mean() + self.gamma * missing, {}
