"""A mixture of any distributions with equal weights, in little memory."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lightning.utils.blocks import in_blocks

# The probability that a component is chosen more often than it is drawn from; then one of its
# samples is used twice.
_NEGLIGIBLE = 1e-12


class EqualMixture(Distribution):
    r"""A mixture of the C distributions of a batch, with equal weights.

    .. math:: p(z) = \frac{1}{C} \sum_{c=1}^C p_c(z)

    The density is that of `torch.distributions.MixtureSameFamily`, which draws each sample from all
    C components and keeps one: C times the memory. Here the component of each sample is drawn
    first, and each component is sampled as often as it was chosen, up to a margin.

    Args:
        components: batch shape (C,), event shape (D,).

    Shape:
        batch shape (), event shape (D,).

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> means = torch.tensor([[-50.0, 0.0], [50.0, 0.0]])
        >>> mixture = EqualMixture(Independent(Normal(means, 1.0), 1))
        >>> mixture.sample((3,)).shape, mixture.log_prob(torch.zeros(4, 2)).shape
        (torch.Size([3, 2]), torch.Size([4]))
    """

    has_rsample = False
    arg_constraints: ClassVar = {}

    def __init__(self, components: Distribution) -> None:
        self.components = components
        (self.count,) = components.batch_shape
        super().__init__(event_shape=components.event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Mean of the components' means, (D,)."""
        return self.components.mean.mean(0)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw a component, and a sample from it; (*sample_shape, D)."""
        shape = torch.Size(sample_shape)
        rows = draws_of_each(shape.numel(), self.count)
        drawn = self.components.sample(torch.Size((rows,)))  # (rows, C, D)
        chosen = torch.randint(self.count, (shape.numel(),), device=drawn.device)
        # The n-th sample of a component takes its n-th row.
        ordered, order = chosen.sort(stable=True)
        first = torch.searchsorted(ordered, ordered)
        number = torch.empty_like(order)
        number[order] = torch.arange(len(order), device=drawn.device) - first
        return drawn[number.clamp_max(rows - 1), chosen].reshape(shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of (..., D), in nats, (...)."""
        rows = value.reshape(-1, *self.event_shape)
        return in_blocks(self._score, rows).reshape(value.shape[:-1])

    def _score(self, rows: Tensor) -> Tensor:
        """Log-density of (N, D), (N,)."""
        return self.components.log_prob(rows.unsqueeze(1)).logsumexp(1) - math.log(self.count)


def draws_of_each(samples: int, components: int) -> int:
    r"""The number of draws of each component that suffices for some samples of an equal mixture.

    A component is chosen n times with a binomial distribution of mean m. By Bernstein's inequality
    and the union bound, the probability that any component is chosen more than m + t times is at
    most

    .. math:: C \exp \Big( -\frac{t^2}{2 (m + t / 3)} \Big)

    and t is such that this is 1e-12. The number does not depend on what was chosen, so a device is
    not waited for.

    Example:
        >>> draws_of_each(20_000, components=500), draws_of_each(64, components=500)
        (105, 24)
        >>> draws_of_each(1, components=500)
        1
    """
    mean = samples / components
    log_ratio = math.log(components / _NEGLIGIBLE)
    margin = log_ratio / 3 + math.sqrt((log_ratio / 3) ** 2 + 2 * mean * log_ratio)
    return min(samples, math.ceil(mean + margin))
