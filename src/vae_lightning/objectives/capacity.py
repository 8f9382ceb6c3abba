"""A rate that is held at a capacity."""

from torch import Tensor

from vae_lightning.models.trace import Trace
from vae_lightning.objectives.objective import Objective
from vae_lightning.objectives.schedules import Schedule
from vae_lightning.objectives.trace_checks import require_density, require_fixed_prior
from vae_lightning.utils.checks import at_least


class Capacity(Objective):
    r"""Distortion, and how far the mean rate of the images is from a capacity that grows.

    .. math:: \mathcal{L} = \mathbb{E}_{q(z|x)} [-\log p(x|z)]
              + \gamma\, |\mathrm{KL}(q(z|x) \,\|\, p(z)) - C_t|

    Without capacity and with gamma = 1 this is the ELBO.

    Args:
        num_samples: K, how many posterior samples estimate the expectation.
        gamma: weight of the difference.
        capacity: C at the height of its schedule, in nats.
        schedule: by what the capacity is multiplied at each step.

    Raises:
        ValueError: `num_samples` below 1, `gamma` or `capacity` below 0.

    References:
        Burgess, Higgins, Pal, Matthey, Watters, Desjardins and Lerchner, "Understanding
        Disentangling in beta-VAE", 2018.
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
        for latent in trace.latents:
            # Below its capacity the rate is driven up, by making such a prior worse.
            require_fixed_prior(latent, "a capacity would spoil", ", or objective=elbo")
        missing = (trace.rate.mean() - self.capacity * self.schedule.at(step)).abs()
        return trace.distortion.mean() + self.gamma * missing, {}
