"""The rate: how many nats the posterior spends beyond the prior."""

from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence


def rate(posterior: Distribution, prior: Distribution, z: Tensor) -> Tensor:
    r"""KL divergence from the prior to the posterior, for each sample and image.

    .. math:: \mathrm{KL}(q(z|x) \,\|\, p(z)) = \mathbb{E}_{q(z|x)} [\log q(z|x) - \log p(z)]

    The closed form where `torch.distributions` has one (the same for every sample), otherwise the
    unbiased estimate from the samples.

    Args:
        posterior: batch shape (B,).
        prior: batch shape () or (B,).
        z: samples of the posterior.

    Shape:
        z: (K, B, *event); returns (K, B), in nats.
    """
    try:
        divergence = kl_divergence(posterior, prior)
    except NotImplementedError:
        return posterior.log_prob(z) - prior.log_prob(z)
    return divergence.expand(z.shape[0], -1)


def rate_per_dimension(posterior: Distribution, prior: Distribution) -> Tensor | None:
    """The rate split over the latent dimensions, where both distributions factorise over them.

    Shape:
        returns (B, *event), in nats, summing to the rate over the event dimensions; None where
        posterior or prior has no independent dimensions or no closed form.
    """
    if not (isinstance(posterior, Independent) and isinstance(prior, Independent)):
        return None
    try:
        return kl_divergence(posterior.base_dist, prior.base_dist)
    except NotImplementedError:
        return None
