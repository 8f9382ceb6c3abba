"""Metrics of latent variables: active units, and rates by layer and by dimension."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vae_lightning.distributions.codes import CodePointMass
from vae_lightning.distributions.kl import rate_per_dimension
from vae_lightning.models import Latent, Model
from vae_lightning.utils.blocks import images_at_once
from vae_lightning.utils.pixels import to_float
from vae_lightning.utils.precision import at_least_float32

# One number, or one for each layer or latent dimension.
Score = float | list[float]

ACTIVE_VARIANCE = 0.01

# Images encoded at a time. The samples that a seed gives depend on it.
_ENCODED = 1000
# Samples of each layer, over which the layers that depend on it are averaged; an even number.
_AVERAGED = 8


def format_score(score: Score, digits: int) -> str:
    """A number with `digits` decimals; several numbers as a sum."""
    parts = score if isinstance(score, list) else [score]
    return " + ".join(f"{part:.{digits}f}" for part in parts)


@torch.no_grad()
def active_units(means: Tensor) -> int:
    r"""Number of latent dimensions whose posterior mean varies over the images.

    .. math:: \#\{j : \mathrm{Var}_x(\mathbb{E}_{q(z|x)}[z_j]) > 0.01\}

    Args:
        means: the posterior's mean for each image. A layer that depends on another one has a mean
            for each of K samples of that layer. Two halves of these are independent estimates of
            the mean over the samples, so the noise of the samples adds nothing to their covariance.

    Shape:
        means: (N, D), or (K, N, D) with K even.

    Example:
        >>> means = torch.tensor([[1.0, 0.05], [-1.0, -0.05]])  # variances 1 and 0.0025
        >>> active_units(means)
        1

    References:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016,
        https://arxiv.org/abs/1509.00519.
    """
    if means.dim() == 2:
        variance = means.var(0, correction=0)
    else:
        one, other = (half.mean(0) for half in means.chunk(2))  # (N, D)
        variance = ((one - one.mean(0)) * (other - other.mean(0))).mean(0)
    return int((variance > ACTIVE_VARIANCE).sum())


def perplexity(codes: Tensor) -> float:
    r"""The effective number of codes in use: exp of the entropy of their frequencies.

    .. math:: \exp \Big( -\sum_k f_k \log f_k \Big), \quad f_k = \text{frequency of code } k

    Shape:
        codes: int64, any.
    """
    frequencies = codes.flatten().bincount().double() / codes.numel()
    return float(torch.special.entr(frequencies).sum().exp())


@torch.no_grad()
def inferred(
    model: Model, images: Tensor, labels: Tensor | None, num_samples: int = 1
) -> list[Sequence[Latent]]:
    """`model.infer` in batches: the stochastic layers, with K samples for each image.

    Shape:
        images: (N, C, H, W) in [0, 1], or bytes, on any device; labels: int64 (N,), or None for a
        model without classes.
    """
    return [model.infer(x, num_samples, y) for x, y in _batches(model, images, labels)]


@torch.no_grad()
def latent_means(model: Model, images: Tensor, labels: Tensor | None) -> Tensor:
    """`model.latent_means` in batches, without its checks.

    Shape:
        images: (N, C, H, W) in [0, 1], or bytes, on any device; labels: int64 (N,), or None for a
        model without classes;
        returns (N, D).
    """
    parts = [model.infer_means(x, y) for x, y in _batches(model, images, labels)]
    return at_least_float32(torch.cat(parts))


def _batches(
    model: Model, images: Tensor, labels: Tensor | None
) -> Iterator[tuple[Tensor, Tensor | None]]:
    size = images_at_once(images.shape[1:], _ENCODED)
    for start in range(0, len(images), size):
        batch = slice(start, start + size)
        x, y = images[batch], None if labels is None else labels[batch]
        if x.dtype == torch.uint8:
            weight = next(model.parameters())
            x = to_float(x, weight.dtype, weight.device)
        yield x, y


@torch.no_grad()
def usage(model: Model, images: Tensor, labels: Tensor | None) -> dict[str, Score]:
    """How a model uses its latent dimensions, on some images.

    Shape:
        images: (N, C, H, W) in [0, 1], or bytes, on any device; labels: int64 (N,), or None for a
        model without classes.

    Returns:
        `active_units`; for several stochastic layers also `active_units_per_layer` and
        `rate_per_layer`; for maps of codes `codebook_perplexity`; and `rate_per_dimension`, layer
        by layer, if the posterior and the prior of every layer factorise over the dimensions. Rates
        are in nats, averaged over the images.
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
        known = [at_least_float32(r).flatten(0, -2) for r in layer_rates if r is not None]
        if not known:
            return scores
        means += torch.cat(known).mean(0).tolist()
    scores["rate_per_dimension"] = means
    return scores


def _means(layer: Sequence[Latent]) -> list[Tensor]:
    """The posteriors' means, (B, D), or (K, B, D) if they depend on another layer's samples."""
    posteriors = [latent.posterior for latent in layer]
    return [
        at_least_float32(posterior.mean.flatten(len(posterior.batch_shape)))
        for posterior in posteriors
    ]
