"""The rate: how many nats the posterior spends beyond the prior."""

from abc import ABC, abstractmethod

from torch import Size, Tensor
from torch.distributions import Distribution, Independent, kl_divergence


class DrawnWithDensity(Distribution, ABC):
    """A distribution that knows the density of a sample from having drawn it.

    Scoring a sample afterwards can be slow: a flow that is fast to sample is slow to invert.
    """

    @abstractmethod
    def rsample_and_log_prob(self, sample_shape: Size) -> tuple[Tensor, Tensor]:
        """Draw reparameterised samples, and their log-densities.

        Shape:
            returns (*sample_shape, *batch, *event) and (*sample_shape, *batch).
        """


def draw(posterior: Distribution, num_samples: int) -> tuple[Tensor, Tensor | None]:
    """Draw K reparameterised samples, with their log-densities where those come for nothing.

    Shape:
        returns (K, *batch, *event), and (K, *batch) or None.
    """
    shape = Size((num_samples,))
    if isinstance(posterior, DrawnWithDensity):
        return posterior.rsample_and_log_prob(shape)
    return posterior.rsample(shape), None


def closed_form(posterior: Distribution, prior: Distribution) -> Tensor | None:
    r"""KL divergence from the prior to the posterior, where `torch.distributions` has a formula.

    .. math:: \mathrm{KL}(q(z|x) \,\|\, p(z)) = \mathbb{E}_{q(z|x)} [\log q(z|x) - \log p(z)]

    Shape:
        returns the batch shape of the two, in nats; None where there is no formula.
    """
    try:
        return kl_divergence(posterior, prior)
    except NotImplementedError:
        return None


def rate_per_dimension(posterior: Distribution, prior: Distribution) -> Tensor | None:
    """The rate split over the latent dimensions, where both distributions factorise over them.

    Shape:
        returns (B, *event), in nats, summing to the rate over the event dimensions; None where
        posterior or prior has no independent dimensions or no closed form.
    """
    if not (isinstance(posterior, Independent) and isinstance(prior, Independent)):
        return None
    return closed_form(posterior.base_dist, prior.base_dist)


def independent_dimensions(distribution: Distribution) -> Distribution | None:
    """The dimensions' own distributions, where they are independent of each other.

    Shape:
        returns batch shape (*batch, *event), event shape (); None where they are not.
    """
    if isinstance(distribution, Independent) and not distribution.base_dist.event_shape:
        return distribution.base_dist
    return None
