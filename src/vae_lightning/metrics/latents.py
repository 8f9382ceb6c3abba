"""What the latent variables hold: units in use, and the parts of the rate."""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from vae_lightning.distributions.code_maps import CodeMaps
from vae_lightning.distributions.divergence import independent_dimensions, rate_per_dimension
from vae_lightning.distributions.flows import Pushed
from vae_lightning.models.trace import Latent
from vae_lightning.randomness import fixed_noise

# A figure, or one for each latent dimension.
Score = float | list[float]

ACTIVE_VARIANCE = 0.01

# Images encoded at a time. Their samples are drawn together, so it is part of what a seed means.
_ENCODED = 1000
# Samples of each layer over which a layer that depends on them is averaged; even.
_AVERAGED = 8
# Samples scored at a time: few enough that log-densities stay in the processor's cache.
_SCORED = 8


class LatentVariableModel(Protocol):
    """What infers latent variables of images."""

    def infer(
        self, x: Tensor, num_samples: int, labels: Tensor | None = None
    ) -> Sequence[Latent]: ...


@torch.no_grad()
def active_units(posterior_means: Tensor) -> int:
    r"""Number of latent dimensions that follow the image.

    .. math:: \#\{j : \mathrm{Var}_x(\mathbb{E}_{q(z|x)}[z_j]) > 0.01\}

    Args:
        posterior_means: the posterior's mean for each image; given each of K samples of another
            layer, where it depends on them. Two halves of these are independent estimates of the
            mean over them, so that their covariance over the images has no part that is noise.

    Shape:
        posterior_means: (N, D), or (K, N, D), K even.

    References:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016.
    """
    if posterior_means.dim() == 2:
        variance = posterior_means.var(0, correction=0)
    else:
        one, other = (half.mean(0) for half in posterior_means.chunk(2))  # (N, D)
        variance = ((one - one.mean(0)) * (other - other.mean(0))).mean(0)
    return int((variance > ACTIVE_VARIANCE).sum())


def perplexity(codes: Tensor) -> float:
    r"""How many codes are in use: as many, used equally, would have the same entropy.

    .. math:: \exp \Big( -\sum_k f_k \log f_k \Big), \quad f_k = \text{share of code } k

    Shape:
        codes: int64, any.
    """
    shares = codes.flatten().bincount().double() / codes.numel()
    return float(torch.special.entr(shares).sum().exp())


@torch.no_grad()
def inferred(
    model: LatentVariableModel, images: Tensor, labels: Tensor | None, num_samples: int = 1
) -> list[Sequence[Latent]]:
    """The stochastic layers with K samples for each image, of a thousand images at a time.

    Shape:
        images: (N, C, H, W) in [0, 1]; labels: int64 (N,), or None where the model needs none.
    """
    starts = range(0, len(images), _ENCODED)
    parts = [slice(start, start + _ENCODED) for start in starts]
    return [
        model.infer(images[part], num_samples, None if labels is None else labels[part])
        for part in parts
    ]


@torch.no_grad()
def posterior_means(model: LatentVariableModel, images: Tensor, labels: Tensor | None) -> Tensor:
    """The posterior's means, of all stochastic layers side by side.

    Shape:
        images: (N, C, H, W) in [0, 1]; labels: int64 (N,) or None; returns (N, D).
    """
    return torch.cat(
        [
            torch.cat([latent.mean.flatten(1) for latent in latents], dim=1)
            for latents in inferred(model, images, labels)
        ]
    )


@torch.no_grad()
def usage(model: LatentVariableModel, images: Tensor, labels: Tensor | None) -> dict[str, Score]:
    """How much some images use the latent dimensions.

    Shape:
        images: (N, C, H, W) in [0, 1]; labels: int64 (N,), or None where the model needs none.

    Returns:
        `active_units`; of several stochastic layers also `active_units_per_layer`; of maps of codes
        `codebook_perplexity`; and where the posterior and prior of every layer factorise over the
        dimensions, `rate_per_dimension`, in nats: the means over the images, one for each
        dimension, layer by layer.
    """
    parts = inferred(model, images, labels)
    if len(parts[0]) > 1:
        parts = inferred(model, images, labels, _AVERAGED)
    layers = list(zip(*parts, strict=True))
    counts = [active_units(torch.cat(_means(layer), dim=-2)) for layer in layers]
    scores: dict[str, Score] = {"active_units": float(sum(counts))}
    if len(counts) > 1:
        scores["active_units_per_layer"] = [float(count) for count in counts]
    codes = [
        latent.posterior.codes
        for layer in layers
        for latent in layer
        if isinstance(latent.posterior, CodeMaps)
    ]
    if codes:
        scores["codebook_perplexity"] = perplexity(torch.cat(codes))
    rates = [
        [rate_per_dimension(latent.posterior, latent.prior) for latent in layer] for layer in layers
    ]
    means: list[float] = []
    for layer_rates in rates:
        known = [rate.flatten(0, -2) for rate in layer_rates if rate is not None]
        if not known:
            return scores
        means += torch.cat(known).mean(0).tolist()
    scores["rate_per_dimension"] = means
    return scores


@torch.no_grad()
def rate_decomposition(
    model: LatentVariableModel, images: Tensor, labels: Tensor | None, seed: int
) -> dict[str, float]:
    r"""Split the rate into what the latents say of the image and how far they are from the prior.

    .. math::
        \mathbb{E}_x \mathrm{KL}(q(z|x) \,\|\, p(z))
        = I(x; z) + \mathrm{KL}(q(z) \,\|\, p(z))
        = I(x; z) + \mathrm{KL}(q(z) \,\|\, \prod_j q(z_j)) + \mathrm{KL}_d

    with the aggregate posterior of exactly these images,

    .. math:: q(z) = \frac{1}{N} \sum_{i=1}^N q(z|x_i), \quad
        q(z_j) = \frac{1}{N} \sum_{i=1}^N q(z_j|x_i)

    Each expectation is the mean over one sample of the posterior of each image, the same samples
    for all, so the parts add up to the sampled rate but for rounding. The time grows with the
    square of the number of images.

    Args:
        model: one with several stochastic layers has no such parts, and gets none; nor does one
            whose posteriors are flows, which take long to score the samples of others.
        images: those to which the aggregate posterior refers.
        labels: of the images, where the model needs them.
        seed: of the samples.

    Shape:
        images: (N, C, H, W) in [0, 1]; labels: int64 (N,) or None.

    Returns:
        In nats per image: `mutual_information`, I(x; z), at most `mutual_information_bound`, log N;
        `marginal_kl`, from the prior to the aggregate posterior; `sampled_rate`, their sum. Where
        posterior and prior factorise over the dimensions, `marginal_kl` is split further into
        `total_correlation` and `dimension_wise_kl`, the KL of the product of the marginals q(z_j).
        An estimate of a part that is near 0 can be negative.

    References:
        Hoffman and Johnson, "ELBO surgery: yet another way to carve up the variational evidence
        lower bound", 2016.
        Chen, Li, Grosse and Duvenaud, "Isolating Sources of Disentanglement in Variational
        Autoencoders", 2018.
    """
    with fixed_noise(seed, images.device):
        parts = inferred(model, images, labels)
    if len(parts[0]) > 1 or isinstance(parts[0][0].posterior, Pushed):
        return {}
    posteriors = [latents[0].posterior for latents in parts]
    samples = [latents[0].z[0] for latents in parts]
    prior = parts[0][0].prior
    z = torch.cat(samples)
    log_q, log_aggregate, log_marginals, log_p = (
        # On the CPU because not every device has doubles, without which the sums are not exact.
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


def _means(layer: Sequence[Latent]) -> list[Tensor]:
    """The posteriors' means, (B, D), or (K, B, D) where they depend on another layer's samples."""
    posteriors = [latent.posterior for latent in layer]
    return [posterior.mean.flatten(len(posterior.batch_shape)) for posterior in posteriors]


def _log_aggregate(posteriors: list[Distribution], z: Tensor) -> tuple[Tensor, Tensor]:
    """Log q(z), and the sum of log q(z_j) over the factors j, both (N,)."""
    log_aggregate, log_marginals = [], []
    for part in z.split(_SCORED):
        joint, single = [], []
        for posterior in posteriors:
            log_factors = _log_factors(posterior, part)  # (D, chunk, B)
            joint.append(_log_sum(log_factors.sum(0)))  # (chunk,)
            single.append(_log_sum(log_factors))  # (D, chunk)
        log_aggregate.append(torch.stack(joint, -1).logsumexp(-1) - math.log(len(z)))
        each = torch.stack(single, -1).logsumexp(-1) - math.log(len(z))
        log_marginals.append(each.sum(0))
    return torch.cat(log_aggregate), torch.cat(log_marginals)


def _log_factors(posterior: Distribution, z: Tensor) -> Tensor:
    """Log-densities of every sample under every posterior: (D, chunk, B), or (1, chunk, B)."""
    z = z.unsqueeze(1)  # (chunk, 1, *event)
    base = independent_dimensions(posterior)
    if base is None:
        return posterior.log_prob(z).unsqueeze(0)
    if type(base) is Normal and z.dim() == 3:
        # The same, two to three times as fast: along the images, memory has no gaps.
        loc, scale = (value.T.contiguous().unsqueeze(1) for value in (base.loc, base.scale))
        return Normal(loc, scale, validate_args=False).log_prob(z.permute(2, 0, 1))
    return base.log_prob(z).flatten(2).permute(2, 0, 1)


def _log_sum(log_terms: Tensor) -> Tensor:
    """`torch.logsumexp` over the last dimension, but for terms that are nothing beside the largest.

    Their exponentials would underflow, and one that does takes ten times as long.
    """
    largest = log_terms.amax(-1, keepdim=True).clamp_min_(torch.finfo(log_terms.dtype).min)
    terms = (log_terms - largest).clamp_min_(-80).exp_()
    return terms.sum(-1).log_() + largest.squeeze(-1)
