"""Where to go in a latent space to see what its dimensions do; for drawings and for `generate`."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lightning.distributions.kl import independent_dimensions
from vae_lightning.metrics.latents import inferred, posterior_means, usage
from vae_lightning.models import VAE, Model
from vae_lightning.models.hierarchical import HierarchicalVAE
from vae_lightning.models.vector_quantized import VectorQuantized

# Draws of the prior from which its centre, width and quantiles are estimated, where it has no
# formula for them.
_DRAWS = 20_000


@dataclass(frozen=True)
class Ranking:
    """The latent dimensions, the most used first.

    Attributes:
        order: their numbers, counted over all layers; the lowest layer's are first.
        figures: how much each is used, in this order.
        criterion: what the figures are: `rate`, in nats, or the `variance` of the posterior's means
            over the images, where the rate does not split.
    """

    order: Sequence[int]
    figures: Sequence[float]
    criterion: str


def dimension_name(model: Model, dimension: int) -> str:
    """What to call a latent dimension: `z3`, and where there are layers `z3, layer 2`."""
    if not isinstance(model, HierarchicalVAE):
        return f"z{dimension}"
    layer = 0
    while dimension >= model.latent_dims[layer]:
        dimension -= model.latent_dims[layer]
        layer += 1
    return f"z{dimension}, layer {layer + 1}"


def check_dimensions(model: Model) -> None:
    """Refuse a model whose latent dimensions cannot be moved one by one.

    Raises:
        ValueError: it is one.
    """
    if isinstance(model, VectorQuantized):
        raise ValueError("this model's latents are codes, which have no dimensions to move along")
    if model.latent_space == "sphere":
        raise ValueError(
            "this model's latents are on a sphere, which one leaves by moving along a dimension"
        )
    if model.latent_space == "simplex":
        raise ValueError(
            "this model's latents are categories, which are not moved along dimensions"
        )


def ranking(model: Model, images: Tensor, labels: Tensor | None) -> Ranking:
    """Order the latent dimensions by the nats that some images spend on them.

    Shape:
        images (N, C, H, W) in [0, 1]; labels int64 (N,).
    """
    rates = usage(model, images, labels).get("rate_per_dimension")
    criterion = "variance" if rates is None else "rate"
    if rates is None:
        figures = posterior_means(model, images, labels).var(0, correction=0)
    else:
        figures = torch.tensor(rates)
    sorted_, order = figures.sort(descending=True, stable=True)
    return Ranking(order.tolist(), sorted_.tolist(), criterion)


def prior_spread(model: Model) -> tuple[Tensor, Tensor]:
    """Centre and standard deviation of the prior in each latent dimension.

    Shape:
        returns (D,) and (D,).
    """
    known = _prior_dimensions(model)
    if known is not None:
        return known.mean, known.stddev
    draws = model.sample_latents(_DRAWS)
    return draws.mean(0), draws.std(0)


def aggregate_spread(model: Model, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Centre and standard deviation of the aggregate posterior of some images, from a draw of each.

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


def prior_quantiles(model: Model, dimensions: Sequence[int], shares: Tensor) -> Tensor:
    r"""The prior's inverse CDF in some dimensions, each taken by itself.

    .. math:: F_j(z_j) = p(z'_j \le z_j), \quad F_j^{-1}(t)

    Shape:
        shares t (T,), between 0 and 1; returns (len(dimensions), T).
    """
    known = _prior_dimensions(model)
    chosen = list(dimensions)
    if known is not None:
        return known.icdf(shares[:, None].expand(-1, *known.batch_shape)).T[chosen]
    return model.sample_latents(_DRAWS)[:, chosen].quantile(shares, dim=0).T


def traversal(model: Model, start: Tensor, dimension: int, values: Tensor) -> Tensor:
    """Latents that differ from `start` in one dimension.

    Where it is one of an upper layer, the layers below follow: they are at the centre of what the
    model predicts them to be from it.

    Shape:
        start (D,); values (T,); returns (T, D).
    """
    latents = start.repeat(len(values), 1)
    latents[:, dimension] = values
    return model.follow(latents, [dimension]) if isinstance(model, HierarchicalVAE) else latents


def square(model: Model, count: int, start: Tensor, dimensions: Sequence[int]) -> Tensor:
    """The plane of two latent dimensions at the prior's quantiles, row by row from the top.

    The first dimension goes to the right and the second upwards; the others are those of `start`.

    Shape:
        start (D,); returns (count * count, D).
    """
    shares = ((torch.arange(count) + 0.5) / count).to(start)
    across, along = prior_quantiles(model, dimensions, shares)
    up, right = torch.meshgrid(along.flip(0), across, indexing="ij")
    latents = start.repeat(count * count, 1)
    latents[:, dimensions[0]] = right.flatten()
    latents[:, dimensions[1]] = up.flatten()
    if isinstance(model, HierarchicalVAE):
        latents = model.follow(latents, dimensions)
    return latents


def knows_prior(model: Model) -> bool:
    """Whether centre, width and quantiles of the prior are exact, and not estimated from draws."""
    return _prior_dimensions(model) is not None


def _prior_dimensions(model: Model) -> Distribution | None:
    """The prior's dimensions, where they are independent and known."""
    return independent_dimensions(model.prior_distribution()) if isinstance(model, VAE) else None
