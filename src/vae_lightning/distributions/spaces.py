"""Where latent variables live: a posterior and a prior must be on the same space."""

from typing import Literal

import torch
from torch import Tensor

# Real vectors; vectors of length one; categories, each variable as so many coordinates.
Space = Literal["plane", "sphere", "simplex"]

# How to go from one point to another.
Path = Literal["linear", "spherical"]

# Those that stay in the space; the first is taken where nobody chose one.
PATHS: dict[Space, tuple[Path, ...]] = {
    "plane": ("linear", "spherical"),
    "sphere": ("spherical",),
    "simplex": ("linear",),
}

# Options of model/prior, by the space that they are on.
PRIORS: dict[Space, tuple[str, ...]] = {
    "plane": ("standard_normal", "mixture", "vamp", "flow"),
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


def between(a: Tensor, b: Tensor, shares: Tensor, space: Space, path: Path | None) -> Tensor:
    r"""Points on the way from a to b.

    .. math:: (1 - t) a + t b \quad \text{(linear)}, \qquad
              \frac{\sin((1 - t) \omega)}{\sin \omega} a + \frac{\sin(t \omega)}{\sin \omega} b
              \quad \text{(spherical)}

    with omega the angle between a and b, seen from the origin. Samples of a normal in many
    dimensions lie near a sphere, which the straight line leaves.

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
    if path not in PATHS[space]:
        raise ValueError(
            f"path={path} leaves the {space} of the latents: choose path={PATHS[space][0]}"
        )
    a, b, t = a[:, None], b[:, None], shares[:, None]
    straight = torch.lerp(a, b, t)
    if path == "linear":
        return straight
    cosine = torch.cosine_similarity(a, b, dim=-1).clamp(-1, 1)[..., None]  # (B, 1, 1)
    angle = cosine.acos()
    # Between opposite ends the way is not determined, and between near ones it is straight.
    sine = angle.sin()
    round_ = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / sine
    return torch.where(sine < 1e-4, straight, round_)


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
