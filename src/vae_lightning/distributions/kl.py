"""KL divergences in closed form, for all latent dimensions together or for each."""

from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence


def closed_form(posterior: Distribution, prior: Distribution) -> Tensor | None:
    r"""KL divergence of the posterior from the prior, if `torch.distributions` has a formula.

    .. math:: \mathrm{KL}(q(z|x) \,\|\, p(z)) = \mathbb{E}_{q(z|x)} [\log q(z|x) - \log p(z)]

    Shape:
        returns the common batch shape, in nats; None if there is no formula.
    """
    try:
        return kl_divergence(posterior, prior)
    except NotImplementedError:
        return None


def rate_per_dimension(posterior: Distribution, prior: Distribution) -> Tensor | None:
    """The rate of each latent dimension, if both distributions factorise over the dimensions.

    Shape:
        returns (B, *event), in nats; its sum over the event dimensions is the rate. None if the
        dimensions of posterior or prior are dependent, or if there is no formula.
    """
    if not (isinstance(posterior, Independent) and isinstance(prior, Independent)):
        return None
    return closed_form(posterior.base_dist, prior.base_dist)


def independent_dimensions(distribution: Distribution) -> Distribution | None:
    """The distribution of each dimension, if the dimensions are independent of each other.

    Shape:
        returns batch shape (*batch, *event), event shape (); None if they are dependent.
    """
    if isinstance(distribution, Independent) and not distribution.base_dist.event_shape:
        return distribution.base_dist
    return None
