"""Models and checks for the tests of posteriors and priors in Euclidean space."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from tiny import composed_model
from vae_lightning.models import VAE

POSTERIORS = ("diagonal_normal", "full_normal", "flow")
PRIORS = ("standard_normal", "mixture", "vamp", "flow")


def small_model(posterior: str, prior: str, latent_dim: int = 2, *more: str) -> VAE:
    """A VAE for images of 16 pixels, with parameters far from their initial values."""
    components = ["model.prior.num_components=6"] if prior in ("mixture", "vamp") else []
    networks = [f"model.{part}.hidden=[8]" for part in ("encoder", "decoder")]
    flows = [f"model.{part}.hidden=[10]" for part in flow_parts(posterior=posterior, prior=prior)]
    model = composed_model(
        "paths.run_dir=unused",
        "data.size=4",
        f"model/posterior={posterior}",
        f"model/prior={prior}",
        f"model.latent_dim={latent_dim}",
        *components,
        *networks,
        *flows,
        *more,
    )
    return shaken(model).double()


def flow_parts(**parts: str) -> list[str]:
    return [part for part, name in parts.items() if name == "flow"]


def shaken(module: Any, by: float = 0.3) -> Any:
    """Add noise to all parameters, as training would."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=generator))
    return module


def some_images(count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, 1, 4, 4, generator=generator).double()


def grid_2d(low: float = -12.0, high: float = 12.0, steps: int = 321) -> tuple[Tensor, float]:
    """Points of a square grid, (steps**2, 2), and the area of a cell."""
    line = torch.linspace(low, high, steps, dtype=torch.float64)
    return torch.cartesian_prod(line, line), float(line[1] - line[0]) ** 2


@torch.no_grad()
def check_density_and_samples(distribution: Distribution, draws: int = 40_000) -> None:
    """Assert that a density in two dimensions integrates to one, and that samples follow it.

    Means of some functions of the samples agree with the integrals within five standard errors.
    """
    assert distribution.batch_shape == ()
    assert distribution.event_shape == (2,)
    points, area = grid_2d()
    density = distribution.log_prob(points).exp() * area
    torch.testing.assert_close(density.sum(), torch.ones(()).double(), rtol=0, atol=1e-3)
    torch.manual_seed(0)
    samples = distribution.sample((draws,))

    def moments(z: Tensor) -> Tensor:
        x, y = z.unbind(-1)
        far = (x > 1).to(z.dtype)
        return torch.stack([x, y, x * x, x * y, y * y, far, torch.sin(2 * y)], -1)

    expected = density @ moments(points)
    drawn = moments(samples)
    errors = (drawn.mean(0) - expected) / (drawn.std(0) / draws**0.5)
    assert errors.abs().max() < 5, errors
