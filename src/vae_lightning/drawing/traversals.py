"""Traversals of a latent space: which dimensions to vary, how far, and the latents on the way."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lightning.distributions.kl import independent_dimensions
from vae_lightning.metrics.latents import inferred, latent_means, usage
from vae_lightning.models import VAE, Model
from vae_lightning.models.hierarchical import HierarchicalVAE
from vae_lightning.models.vector_quantized import VectorQuantized

# Draws of the prior that its centre, width and quantiles are estimated from if it has no formula
# for them.
_DRAWS = 5_000


@dataclass(frozen=True)
class Ranking:
    """The latent dimensions, ordered by how much they are used.

    Attributes:
        order: indices of the dimensions, the most used first; counted over all layers from the
            lowest layer up.
        figures: how much each one is used, in this order.
        criterion: what the figures are: `rate`, in nats, or, if the rate has no terms per
            dimension, the `variance` of the posterior's means over the images.
    """

    order: Sequence[int]
    figures: Sequence[float]
    criterion: str


def dimension_name(model: Model, dimension: int) -> str:
    """Name a latent dimension: `z3`, or `z3, layer 2` in a hierarchical model."""
    if not isinstance(model, HierarchicalVAE):
        return f"z{dimension}"
    layer = 0
    while dimension >= model.latent_dims[layer]:
        dimension -= model.latent_dims[layer]
        layer += 1
    return f"z{dimension}, layer {layer + 1}"


def check_dimensions(model: Model) -> None:
    """Check that the latent dimensions of a model can be varied one by one.

    Raises:
        ValueError: they are codes, categories, or coordinates on a sphere.
    """
    if isinstance(model, VectorQuantized):
        raise ValueError(
            "this model's latents are codes, whose dimensions cannot be varied one by one"
        )
    if model.latent_space == "sphere":
        raise ValueError(
            "this model's latents are on a sphere, so their dimensions cannot be varied one by one"
        )
    if model.latent_space == "simplex":
        raise ValueError(
            "this model's latents are categories, whose dimensions cannot be varied one by one"
        )


def ranking(model: Model, images: Tensor, labels: Tensor | None) -> Ranking:
    """Order the latent dimensions by their mean rate over some images.

    Shape:
        images (N, C, H, W) in [0, 1]; labels int64 (N,).
    """
    rates = usage(model, images, labels).get("rate_per_dimension")
    criterion = "variance" if rates is None else "rate"
    if rates is None:
        figures = latent_means(model, images, labels).var(0, correction=0)
    else:
        figures = torch.tensor(rates)
    sorted_, order = figures.sort(descending=True, stable=True)
    return Ranking(order.tolist(), sorted_.tolist(), criterion)


def prior_spread(model: Model) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the prior in each latent dimension.

    Shape:
        returns (D,) and (D,).
    """
    known = _prior_dimensions(model)
    if known is not None:
        return known.mean, known.stddev
    draws = model.sample_latents(_DRAWS)
    return draws.mean(0), draws.std(0)


def aggregate_spread(model: Model, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    r"""Mean and standard deviation of the aggregate posterior of some images.

    .. math:: q(z) = \frac{1}{N} \sum_{i=1}^N q(z|x_i)

    They are estimated from one draw for each image.

    Shape:
        images (N, C, H, W) in [0, 1]; labels int64 (N,); returns (D,) and (D,).
    """
    draws = torch.cat(
        [
            torch.cat([latent.z[0] for latent in latents], dim=-1)
            for latents in inferred(model, images, labels)
        ]
    )
    return draws.mean(0), draws.std(0)


def prior_quantiles(model: Model, dimensions: Sequence[int], probabilities: Tensor) -> Tensor:
    r"""The inverse CDF of the prior's marginal in some dimensions.

    .. math:: F_j(z_j) = p(z'_j \le z_j), \quad F_j^{-1}(t)

    Shape:
        probabilities t (T,), between 0 and 1; returns (len(dimensions), T).
    """
    known = _prior_dimensions(model)
    indices = list(dimensions)
    if known is not None:
        return known.icdf(probabilities[:, None].expand(-1, *known.batch_shape)).T[indices]
    return model.sample_latents(_DRAWS)[:, indices].quantile(probabilities, dim=0).T


def traversal(model: Model, start: Tensor, dimension: int, values: Tensor) -> Tensor:
    """Latents that differ from `start` in one dimension.

    If it belongs to an upper layer of a hierarchical model, the layers below take the means that
    the model predicts from it.

    Shape:
        start (D,); values (T,); returns (T, D).

    Example:
        >>> from vae_lightning.config import compose, instantiate, to_container
        >>> config = to_container(compose("train", ["model.latent_dim=5"]).model)
        >>> model = instantiate(config, "model")
        >>> traversal(model, torch.zeros(5), 3, torch.linspace(-3, 3, 11)).shape
        torch.Size([11, 5])
    """
    latents = start.repeat(len(values), 1)
    latents[:, dimension] = values
    return model.follow(latents, [dimension]) if isinstance(model, HierarchicalVAE) else latents


def quantile_grid(model: Model, count: int, start: Tensor, dimensions: Sequence[int]) -> Tensor:
    r"""Latents on a grid of two dimensions at the quantiles of the prior, row by row from the top.

    .. math:: z_j = F_j^{-1}\Big(\frac{i + 1/2}{n}\Big), \quad i = 0 \dots n - 1

    The first dimension increases to the right and the second one upwards; the others keep the
    values of `start`.

    Args:
        model: with a prior on real vectors.
        count: n, points along each side.
        start: values of the other dimensions.
        dimensions: indices of the two.

    Shape:
        start (D,); returns (count * count, D).
    """
    probabilities = ((torch.arange(count) + 0.5) / count).to(start)
    first, second = prior_quantiles(model, dimensions, probabilities)
    up, right = torch.meshgrid(second.flip(0), first, indexing="ij")
    latents = start.repeat(count * count, 1)
    latents[:, dimensions[0]] = right.flatten()
    latents[:, dimensions[1]] = up.flatten()
    if isinstance(model, HierarchicalVAE):
        latents = model.follow(latents, dimensions)
    return latents


def has_exact_quantiles(model: Model) -> bool:
    """Whether the prior's mean, width and quantiles are exact rather than estimated from draws."""
    return _prior_dimensions(model) is not None


def _prior_dimensions(model: Model) -> Distribution | None:
    """The marginals of the prior, if its dimensions are independent."""
    return independent_dimensions(model.prior_distribution()) if isinstance(model, VAE) else None
