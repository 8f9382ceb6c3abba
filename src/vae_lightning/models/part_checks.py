"""Checks of the parts that a model is made of."""

from collections.abc import Sequence

from torch import nn

from vae_lightning.distributions.posteriors.deterministic import Deterministic
from vae_lightning.distributions.posteriors.diagonal_normal import DiagonalNormal
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.distributions.priors.prior import Prior
from vae_lightning.distributions.spaces import check_same_space
from vae_lightning.networks.layers import BatchNorm
from vae_lightning.utils.checks import all_at_least, at_least


def check_sizes(image_shape: Sequence[int], num_classes: int | None) -> None:
    """Check the sizes that every model is built with.

    Raises:
        ValueError: `image_shape` is not three sizes of at least 1, or `num_classes` is below 1.
    """
    all_at_least("image_shape", image_shape, 1)
    if len(image_shape) != 3:
        raise ValueError(f"image_shape={list(image_shape)} must be channels, height and width")
    if num_classes == 0:
        raise ValueError("num_classes=0: the data has no labels to condition on; use model=vae")
    if num_classes is not None:
        at_least("num_classes", num_classes, 1)


def check_prior(model: nn.Module, prior: Prior, posterior: Posterior) -> None:
    """Check that a prior fits the posterior and the networks that have been built so far.

    Args:
        model: whose networks they are.
        prior: its prior.
        posterior: the head whose distributions are compared with the prior.

    Raises:
        ValueError: the two are in different spaces; or the prior is made of posteriors of its own
            images, and batch normalisation would count those as data, or the posteriors have no
            density.
    """
    check_same_space(posterior.space, prior.space)
    if prior.space is not None:
        return
    posterior.check_scored("a prior made of posteriors")
    normalised = {
        "encoder" if name.startswith("encoder.") else "inner"
        for name, part in model.named_modules()
        if isinstance(part, BatchNorm)
    }
    if normalised:
        without = " and ".join(f"model.{part}.batch_norm=false" for part in sorted(normalised))
        raise ValueError(
            "batch_norm=true would take this prior's own images for data: choose "
            f"{without}, or model/prior=standard_normal"
        )


def check_layers(
    inference: str, prior: Prior, posteriors: list[Posterior], conditionals: list[Posterior]
) -> None:
    """Check that the distributions of several stochastic layers fit together.

    Args:
        inference: `bottom_up` | `top_down` | `ladder`.
        prior: of the top layer.
        posteriors: the head to each layer's posterior.
        conditionals: the head to each p(z_l|z_{l+1}).

    Raises:
        ValueError: latents that are not in Euclidean space; a ladder of other distributions than
            diagonal normals; a conditional without density; or a prior made of posteriors of the
            top layer bottom up, where these have no density.
    """
    heads = [*posteriors, *conditionals]
    diagonal = " and ".join(
        f"{group}=diagonal_normal"
        for group, layers in (
            ("model/posterior", posteriors),
            ("model/posterior@model.conditional", conditionals),
        )
        if any(type(head) is not DiagonalNormal for head in layers)
    )
    if inference == "ladder" and diagonal:
        raise ValueError(
            f"inference=ladder multiplies normal densities: choose {diagonal}, "
            "or model.inference=top_down"
        )
    for head in heads:
        if head.space != "euclidean":
            raise ValueError(
                f"latents on a {head.space} do not fit a hierarchical model, whose layers are in "
                f"Euclidean space: choose {diagonal}, or model=vae"
            )
    if any(isinstance(head, Deterministic) for head in conditionals):
        raise ValueError(
            "a deterministic conditional has no density, so that there is no rate: choose "
            "model/posterior@model.conditional=diagonal_normal"
        )
    if inference == "bottom_up" and prior.space is None:
        raise ValueError(
            "inference=bottom_up has no density of the top layer given an image, which this "
            "prior is made of: choose model.inference=top_down, or model/prior=standard_normal"
        )
