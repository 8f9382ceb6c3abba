"""What the latent variables hold: units in use, layer by layer and one by one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vae_lightning.distributions.codes import CodePointMass
from vae_lightning.distributions.kl import rate_per_dimension
from vae_lightning.models import Latent, Model

# A figure, or one for each latent dimension.
Score = float | list[float]

ACTIVE_VARIANCE = 0.01

# Images encoded at a time. Their samples are drawn together, so it is part of what a seed means.
_ENCODED = 1000
# Samples of each layer over which a layer that depends on them is averaged; even.
_AVERAGED = 8


def format_score(score: Score, digits: int) -> str:
    """A figure with so many digits after the point; several of them as a sum."""
    parts = score if isinstance(score, list) else [score]
    return " + ".join(f"{part:.{digits}f}" for part in parts)


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
    model: Model, images: Tensor, labels: Tensor | None, num_samples: int = 1
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
def posterior_means(model: Model, images: Tensor, labels: Tensor | None) -> Tensor:
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
def usage(model: Model, images: Tensor, labels: Tensor | None) -> dict[str, Score]:
    """How much some images use the latent dimensions.

    Shape:
        images: (N, C, H, W) in [0, 1]; labels: int64 (N,), or None where the model needs none.

    Returns:
        `active_units`; of several stochastic layers also `active_units_per_layer` and
        `rate_per_layer`; of maps of codes `codebook_perplexity`; and where the posterior and prior
        of every layer factorise over the dimensions, `rate_per_dimension`, layer by layer. Rates
        are in nats, the means over the images.
    """
    parts = inferred(model, images, labels)
    if len(parts[0]) > 1:
        parts = inferred(model, images, labels, _AVERAGED)
    layers = list(zip(*parts, strict=True))
    counts = [active_units(torch.cat(_means(layer), dim=-2)) for layer in layers]
    scores: dict[str, Score] = {"active_units": float(sum(counts))}
    if len(counts) > 1:
        scores["active_units_per_layer"] = [float(count) for count in counts]
        scores["rate_per_layer"] = [
            torch.cat([latent.rate for latent in layer], dim=1).mean().item() for layer in layers
        ]
    codes = [
        latent.posterior.codes
        for layer in layers
        for latent in layer
        if isinstance(latent.posterior, CodePointMass)
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


def _means(layer: Sequence[Latent]) -> list[Tensor]:
    """The posteriors' means, (B, D), or (K, B, D) where they depend on another layer's samples."""
    posteriors = [latent.posterior for latent in layer]
    return [posterior.mean.flatten(len(posterior.batch_shape)) for posterior in posteriors]
