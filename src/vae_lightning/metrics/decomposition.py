"""The decomposition of the rate: mutual information, total correlation, dimension-wise KL."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from vae_lightning.distributions.flows import FlowDistribution
from vae_lightning.distributions.kl import independent_dimensions
from vae_lightning.metrics.latents import inferred
from vae_lightning.models import Model
from vae_lightning.utils.precision import at_least_float32
from vae_lightning.utils.random_state import fixed_noise

# Samples scored at a time, few enough that log-densities stay in the CPU's cache.
_SCORED = 8


@torch.no_grad()
def rate_decomposition(
    model: Model, images: Tensor, labels: Tensor | None, seed: int
) -> dict[str, float]:
    r"""Split the rate into mutual information, total correlation and dimension-wise KL.

    .. math::
        \mathbb{E}_x \mathrm{KL}(q(z|x) \,\|\, p(z))
        = I(x; z) + \mathrm{KL}(q(z) \,\|\, p(z))
        = I(x; z) + \mathrm{KL}(q(z) \,\|\, \prod_j q(z_j)) + \mathrm{KL}_d

    where the aggregate posterior is that of the given images,

    .. math:: q(z) = \frac{1}{N} \sum_{i=1}^N q(z|x_i), \quad
        q(z_j) = \frac{1}{N} \sum_{i=1}^N q(z_j|x_i)

    Each expectation is the mean over one posterior sample of each image. All terms use the same
    samples, so they add up to the sampled rate, up to rounding. The time is quadratic in the number
    of images.

    Args:
        model: of one stochastic layer.
        images: define the aggregate posterior.
        labels: of the images, for a conditional model.
        seed: of the samples.

    Shape:
        images: (N, C, H, W) in [0, 1]; labels: int64 (N,) or None.

    Returns:
        In nats per image: `mutual_information`, I(x; z), at most `mutual_information_bound`, log N;
        `marginal_kl`, of the aggregate posterior from the prior; `sampled_rate`, their sum. If
        posterior and prior factorise over the dimensions, `marginal_kl` is split further into
        `total_correlation` and `dimension_wise_kl`, the KL of the product of the marginals q(z_j).
        An estimate of a part near 0 can be negative. Empty for a model with several stochastic
        layers, and for flow posteriors, which score each other's samples slowly.

    References:
        Hoffman and Johnson, "ELBO surgery: yet another way to carve up the variational evidence
        lower bound", 2016.
        Chen, Li, Grosse and Duvenaud, "Isolating Sources of Disentanglement in Variational
        Autoencoders", 2018, https://arxiv.org/abs/1802.04942.
    """
    with fixed_noise(seed, images.device):
        parts = inferred(model, images, labels)
    if len(parts[0]) > 1 or isinstance(parts[0][0].posterior, FlowDistribution):
        return {}
    posteriors = [latents[0].posterior for latents in parts]
    samples = [latents[0].z[0] for latents in parts]
    prior = parts[0][0].prior
    z = torch.cat(samples)
    log_q, log_aggregate, log_marginals, log_p = (
        # On the CPU: not every device has float64, which the sums need.
        log_density.cpu().double()  # (N,)
        for log_density in (
            torch.cat([latents[0].log_q[0] for latents in parts]),
            *_log_aggregate(posteriors, z),
            prior.log_prob(z),
        )
    )

    def mean(log_ratio: Tensor) -> float:
        return log_ratio.mean().item()

    split = {
        "mutual_information": mean(log_q - log_aggregate),
        "marginal_kl": mean(log_aggregate - log_p),
        "sampled_rate": mean(log_q - log_p),
        "mutual_information_bound": math.log(len(images)),
    }
    if (
        independent_dimensions(posteriors[0]) is not None
        and independent_dimensions(prior) is not None
    ):
        split["total_correlation"] = mean(log_aggregate - log_marginals)
        split["dimension_wise_kl"] = mean(log_marginals - log_p)
    return split


def _log_aggregate(posteriors: list[Distribution], z: Tensor) -> tuple[Tensor, Tensor]:
    """Log q(z), and the sum of log q(z_j) over the factors j, both (N,)."""
    log_aggregate, log_marginals = [], []
    for part in z.split(_SCORED):
        joint, single = [], []
        for posterior in posteriors:
            log_factors = at_least_float32(_log_factors(posterior, part))  # (D, chunk, B)
            joint.append(_log_sum(log_factors.sum(0)))  # (chunk,)
            single.append(_log_sum(log_factors))  # (D, chunk)
        log_aggregate.append(torch.stack(joint, -1).logsumexp(-1) - math.log(len(z)))
        each = torch.stack(single, -1).logsumexp(-1) - math.log(len(z))
        log_marginals.append(each.sum(0))
    return torch.cat(log_aggregate), torch.cat(log_marginals)


def _log_factors(posterior: Distribution, z: Tensor) -> Tensor:
    """Log-densities of every sample under every posterior, (D, chunk, B), or (1, chunk, B)."""
    z = z.unsqueeze(1)  # (chunk, 1, *event)
    base = independent_dimensions(posterior)
    if base is None:
        return posterior.log_prob(z).unsqueeze(0)
    if isinstance(base, Normal) and z.dim() == 3:
        # The same densities, two to three times as fast: contiguous along the images.
        loc, scale = (value.T.contiguous().unsqueeze(1) for value in (base.loc, base.scale))
        return Normal(loc, scale, validate_args=False).log_prob(z.permute(2, 0, 1))
    return base.log_prob(z).flatten(2).permute(2, 0, 1)


def _log_sum(log_terms: Tensor) -> Tensor:
    """`torch.logsumexp` over the last dimension, with negligible terms clamped to e^-80.

    Exponentials that underflow take ten times as long.
    """
    largest = log_terms.amax(-1, keepdim=True).clamp_min_(torch.finfo(log_terms.dtype).min)
    terms = (log_terms - largest).clamp_min_(-80).exp_()
    return terms.sum(-1).log_() + largest.squeeze(-1)
