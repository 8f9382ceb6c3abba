"""Interpolation: it starts and ends at the given latents, and stays in their space."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.distributions.spaces import PATHS, Interpolation, Space, interpolate_latents

INTERPOLATIONS: list[tuple[Space, Interpolation]] = [
    (space, path) for space, paths in PATHS.items() for path in paths
]
FRACTIONS = torch.linspace(0, 1, 7)


def points(space: Space, seed: int) -> Tensor:
    """Four points of a space of six coordinates."""
    z = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
    if space == "sphere":
        return F.normalize(z, dim=-1)
    return z.softmax(-1) if space == "simplex" else z


@pytest.mark.parametrize(("space", "path"), INTERPOLATIONS)
def test_interpolation_starts_at_one_point_and_ends_at_the_other(
    space: Space, path: Interpolation
) -> None:
    a, b = points(space, 0), points(space, 1)
    points_between = interpolate_latents(a, b, FRACTIONS, space, path)
    assert points_between.shape == (4, 7, 6)
    torch.testing.assert_close(points_between[:, 0], a)
    torch.testing.assert_close(points_between[:, -1], b)


@pytest.mark.parametrize("space", PATHS)
def test_the_default_interpolation_stays_in_the_space(space: Space) -> None:
    points_between = interpolate_latents(points(space, 0), points(space, 1), FRACTIONS, space, None)
    if space == "sphere":
        torch.testing.assert_close(points_between.norm(dim=-1), torch.ones(4, 7))
    elif space == "simplex":
        assert (points_between >= 0).all()
        torch.testing.assert_close(points_between.sum(-1), torch.ones(4, 7))
    else:
        torch.testing.assert_close(points_between[:, 3], (points(space, 0) + points(space, 1)) / 2)


def test_spherical_interpolation_turns_evenly_and_keeps_the_length() -> None:
    a, b = (3 * points("sphere", seed) for seed in (0, 1))
    points_between = interpolate_latents(a, b, FRACTIONS, "euclidean", "spherical")
    torch.testing.assert_close(points_between.norm(dim=-1), torch.full((4, 7), 3.0))
    turns = torch.cosine_similarity(points_between[:, 1:], points_between[:, :-1], dim=-1).acos()
    whole = torch.cosine_similarity(a, b, dim=-1).acos()
    torch.testing.assert_close(turns, (whole / 6)[:, None].expand(4, 6), atol=1e-4, rtol=1e-4)


def test_spherical_interpolation_differs_from_the_linear_one() -> None:
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    half = torch.tensor([0.5])
    assert interpolate_latents(a, b, half, "euclidean", "linear").tolist() == [[[1.0, 1.0]]]
    expected = torch.full((1, 1, 2), math.sqrt(2))
    torch.testing.assert_close(interpolate_latents(a, b, half, "euclidean", "spherical"), expected)


@pytest.mark.parametrize("path", ["linear", "spherical"])
@pytest.mark.parametrize(
    "other",
    [
        [1.0, 2.0, -2.0],  # the same point
        [1.0 + 1e-6, 2.0, -2.0],  # nearly so
        [2.0, 4.0, -4.0],  # in the same direction
        [-1.0, -2.0, 2.0],  # opposite
        [-1.0, -2.0, 2.0 + 1e-5],  # nearly so
        [-2.0, -4.0, 4.0],  # opposite and farther away
        [0.0, 0.0, 0.0],  # the origin, where the angle is undefined
    ],
)
def test_interpolation_is_finite_where_the_angle_is_undefined(
    path: Interpolation, other: list[float]
) -> None:
    a, b = torch.tensor([[1.0, 2.0, -2.0]]), torch.tensor([other])
    points_between = interpolate_latents(a, b, FRACTIONS, "euclidean", path)
    assert points_between.isfinite().all()
    torch.testing.assert_close(points_between[:, 0], a)
    torch.testing.assert_close(points_between[:, -1], b)
    # No farther out than the farther end.
    assert points_between.norm(dim=-1).max() <= torch.stack([a.norm(), b.norm()]).max() + 1e-5


def test_opposite_points_of_a_sphere_are_joined_on_the_sphere() -> None:
    a = points("sphere", 0)
    points_between = interpolate_latents(a, -a, FRACTIONS, "sphere", None)
    torch.testing.assert_close(points_between.norm(dim=-1), torch.ones(4, 7))
    turns = torch.cosine_similarity(points_between[:, 1:], points_between[:, :-1], dim=-1).acos()
    torch.testing.assert_close(turns, torch.full((4, 6), math.pi / 6), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("space", "path"),
    [("sphere", "linear"), ("simplex", "spherical")],
)
def test_a_path_that_leaves_the_space_is_refused(space: Space, path: Interpolation) -> None:
    a, b = points(space, 0), points(space, 1)
    with pytest.raises(ValueError, match=f"^path={path} leaves the {space}.*: choose path="):
        interpolate_latents(a, b, FRACTIONS, space, path)
