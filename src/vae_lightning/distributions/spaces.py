"""Where latent variables live, and how to move there: priors are where their posteriors are."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

# Real vectors; vectors of length one; categories, each variable as so many coordinates.
Space = Literal["euclidean", "sphere", "simplex"]

# How to go from one point to another.
Interpolation = Literal["linear", "spherical"]

# Those that stay in the space; the first is taken where nobody chose one.
PATHS: dict[Space, tuple[Interpolation, ...]] = {
    "euclidean": ("linear", "spherical"),
    "sphere": ("spherical",),
    "simplex": ("linear",),
}

# Ends whose directions differ from being the same or opposite by less have no angle to turn by.
_NO_ANGLE = 1e-4

# Options of model/prior, by the space that they are on.
PRIORS: dict[Space, tuple[str, ...]] = {
    "euclidean": ("standard_normal", "mixture", "vamp", "flow"),
    "sphere": ("uniform_sphere", "vamp"),
    "simplex": ("uniform_categorical", "vamp"),
}


def check_same_space(posterior: Space, prior: Space | None) -> None:
    """Check that a prior is where the posterior is.

    Args:
        posterior: its space.
        prior: its space; None where it is made of posteriors, and so has theirs.

    Raises:
        ValueError: it is elsewhere; the message names those that are not.
    """
    if prior not in (posterior, None):
        raise ValueError(
            f"prior is on the {prior} and the posterior on the {posterior}, so that no rate is "
            f"finite: choose model/prior={' or model/prior='.join(PRIORS[posterior])}"
        )


def between(
    a: Tensor, b: Tensor, shares: Tensor, space: Space, path: Interpolation | None
) -> Tensor:
    r"""Points on the way from a to b.

    .. math:: (1 - t) a + t b \quad \text{(linear)}, \qquad
              \frac{\sin((1 - t) \omega)}{\sin \omega} a + \frac{\sin(t \omega)}{\sin \omega} b
              \quad \text{(spherical)}

    with omega the angle between a and b, seen from the origin. Samples of a normal in many
    dimensions lie near a sphere, which the straight line leaves. Between opposite ends the
    spherical way is one of many that are equally short.

    Args:
        a: the one end, (B, D).
        b: the other, (B, D).
        shares: t, (T,); 0 is a and 1 is b.
        space: where they live.
        path: None takes the space's own.

    Shape:
        returns (B, T, D).

    Raises:
        ValueError: a path that leaves the space.

    References:
        Shoemake, "Animating Rotation with Quaternion Curves", 1985.
        White, "Sampling Generative Networks", 2016.
    """
    path = path or PATHS[space][0]
    if path not in (known := get_args(Interpolation)):
        raise ValueError(f"path={path} is none: choose path={' or path='.join(known)}")
    if path not in PATHS[space]:
        raise ValueError(
            f"path={path} leaves the {space} of the latents: choose path={PATHS[space][0]}"
        )
    a, b, t = a[:, None], b[:, None], shares[:, None]
    straight = torch.lerp(a, b, t)
    if path == "linear":
        return straight
    # Seen from the origin; exact for angles near 0 and pi, where the cosine is not.
    one, other = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    angle = 2 * torch.atan2((one - other).norm(dim=-1), (one + other).norm(dim=-1))[..., None]
    sine = angle.sin()  # (B, 1, 1)
    round_ = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / sine
    # Between ends in one direction the way is straight.
    round_ = torch.where(sine.abs() < _NO_ANGLE, straight, round_)
    opposite = (math.pi - angle).abs() < _NO_ANGLE
    return torch.where(opposite, _half_turn(a, b, t), round_)


def _half_turn(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """One of the ways round the origin to an opposite point: all turn equally far."""
    one = F.normalize(a, dim=-1)
    # The axis that is farthest from the direction of a, made perpendicular to it.
    axis = F.one_hot(one.abs().argmin(-1), one.shape[-1]).to(one)
    aside = F.normalize(axis - (axis * one).sum(-1, keepdim=True) * one, dim=-1)
    length = torch.lerp(a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True), t)
    way = length * ((math.pi * t).cos() * one + (math.pi * t).sin() * aside)
    return way + t * (b + b.norm(dim=-1, keepdim=True) * one)  # b is opposite but for rounding


def perturbed(latents: Tensor, deviation: Tensor, space: Space) -> Tensor:
    r"""Latents moved by normal noise, which stay where latents live.

    .. math:: z' = z + \sigma \epsilon \quad \text{(plane)}, \qquad
              z' = \| z \| \frac{z + \sigma \epsilon}{\| z + \sigma \epsilon \|}
              \quad \text{(sphere)}, \qquad \epsilon \sim \mathcal{N}(0, I)

    Args:
        latents: z, in the form of `Model.latent_means`.
        deviation: sigma, of each dimension.
        space: where they live.

    Shape:
        latents (B, D); deviation (D,); returns (B, D).

    Raises:
        ValueError: categories, which are one or another and cannot be moved a little.
    """
    if space == "simplex":
        raise ValueError("latents that are categories cannot be moved a little")
    moved = latents + deviation * torch.randn_like(latents)
    if space == "sphere":
        moved = moved * (latents.norm(dim=-1, keepdim=True) / moved.norm(dim=-1, keepdim=True))
    return moved
