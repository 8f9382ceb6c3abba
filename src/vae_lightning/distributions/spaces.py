"""The spaces that latent variables live in, and how to move within them."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

# Real vectors; vectors of length one; the probabilities of categories.
Space = Literal["euclidean", "sphere", "simplex"]

Interpolation = Literal["linear", "spherical"]

# The interpolations that stay in each space; the first is the default.
PATHS: dict[Space, tuple[Interpolation, ...]] = {
    "euclidean": ("linear", "spherical"),
    "sphere": ("spherical",),
    "simplex": ("linear",),
}

# Options of model/prior for each space; the first is not learned and fits every posterior there.
PRIORS: dict[Space, tuple[str, ...]] = {
    "euclidean": ("standard_normal", "mixture", "vamp", "flow"),
    "sphere": ("uniform_sphere", "vamp"),
    "simplex": ("uniform_categorical", "vamp"),
}

# The spaces in a sentence.
_IN: dict[Space, str] = {
    "euclidean": "in Euclidean space",
    "sphere": "on the sphere",
    "simplex": "on the simplex",
}

# Below this sine of the angle between two vectors, the spherical formula is numerically undefined.
_MIN_SINE = 1e-4


def check_same_space(posterior: Space, prior: Space | None) -> None:
    """Check that prior and posterior are defined on the same space.

    Args:
        posterior: its space.
        prior: its space; None for a prior that is a mixture of posteriors.

    Raises:
        ValueError: the spaces differ; the message names the priors that fit.
    """
    if prior is not None and prior != posterior:
        first, *others = PRIORS[posterior]
        raise ValueError(
            f"the prior is {_IN[prior]} and the posterior {_IN[posterior]}, so the KL divergence "
            f"is infinite: choose model/prior={first} ({_IN[posterior]} there is also "
            f"{', '.join(others)})"
        )


def interpolate_latents(
    a: Tensor, b: Tensor, fractions: Tensor, space: Space, path: Interpolation | None
) -> Tensor:
    r"""Interpolate between pairs of latents.

    .. math:: (1 - t) a + t b \quad \text{(linear)}, \qquad
              \frac{\sin((1 - t) \omega)}{\sin \omega} a + \frac{\sin(t \omega)}{\sin \omega} b
              \quad \text{(spherical)}

    where omega is the angle between a and b. Samples of a normal distribution in many dimensions
    lie near a sphere, and linear interpolation leaves it. Between opposite vectors there are many
    great circles; one of them is chosen.

    Args:
        a: start, (B, D).
        b: end, (B, D).
        fractions: t, (T,); 0 is a and 1 is b.
        space: the space of the latents.
        path: `linear` or `spherical`; None takes the default of the space.

    Shape:
        returns (B, T, D).

    Raises:
        ValueError: the path is unknown or leaves the space.

    References:
        Shoemake, "Animating Rotation with Quaternion Curves", 1985.
        White, "Sampling Generative Networks", 2016. https://arxiv.org/abs/1609.04468

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> interpolate_latents(a, b, torch.tensor([0.5]), "sphere", None)
        tensor([[[0.7071, 0.7071]]])
    """
    path = path or PATHS[space][0]
    if path not in (known := get_args(Interpolation)):
        raise ValueError(f"path={path} is unknown: choose path={' or path='.join(known)}")
    if path not in PATHS[space]:
        raise ValueError(
            f"path={path} leaves the {space} that the latents are on: choose path={PATHS[space][0]}"
        )
    a, b, t = a[:, None], b[:, None], fractions[:, None]
    straight = torch.lerp(a, b, t)
    if path == "linear":
        return straight
    # The half-angle formula is accurate for angles near 0 and pi, where the arc cosine is not.
    one, other = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    angle = 2 * torch.atan2((one - other).norm(dim=-1), (one + other).norm(dim=-1))[..., None]
    sine = angle.sin()  # (B, 1, 1)
    arc = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / sine
    arc = torch.where(sine.abs() < _MIN_SINE, straight, arc)
    opposite = (math.pi - angle).abs() < _MIN_SINE
    return torch.where(opposite, _half_circle(a, b, t), arc)


def _half_circle(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Interpolate to an opposite vector, along one of the great circles through both."""
    one = F.normalize(a, dim=-1)
    # The coordinate axis farthest from the direction of a, made orthogonal to it.
    axis = F.one_hot(one.abs().argmin(-1), one.shape[-1]).to(one)
    orthogonal = F.normalize(axis - (axis * one).sum(-1, keepdim=True) * one, dim=-1)
    length = torch.lerp(a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True), t)
    arc = length * ((math.pi * t).cos() * one + (math.pi * t).sin() * orthogonal)
    return arc + t * (b + b.norm(dim=-1, keepdim=True) * one)  # corrects rounding: b ~ -c a


def perturbed(latents: Tensor, deviation: Tensor, space: Space) -> Tensor:
    r"""Add normal noise to latents, keeping them in their space.

    .. math:: z' = z + \sigma \epsilon \quad \text{(Euclidean)}, \qquad
              z' = \| z \| \frac{z + \sigma \epsilon}{\| z + \sigma \epsilon \|}
              \quad \text{(sphere)}, \qquad \epsilon \sim \mathcal{N}(0, I)

    Args:
        latents: z, in the form of `Model.latent_means`.
        deviation: sigma of each dimension.
        space: the space of the latents.

    Shape:
        latents (B, D); deviation (D,); returns (B, D).

    Raises:
        ValueError: the latents are categories, to which no small noise can be added.
    """
    if space == "simplex":
        raise ValueError("latents that are categories cannot be moved a little")
    moved = latents + deviation * torch.randn_like(latents)
    if space == "sphere":
        moved = moved * (latents.norm(dim=-1, keepdim=True) / moved.norm(dim=-1, keepdim=True))
    return moved
