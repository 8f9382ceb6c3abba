"""Latent variables on the sphere: Bessel functions, densities, samples and their gradients."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily, kl_divergence
from torch.nn import functional as F

from tiny import composed_model
from vae_lightning.config import compose
from vae_lightning.distributions.posteriors.von_mises_fisher import VonMisesFisherPosterior
from vae_lightning.distributions.priors.uniform_sphere import UniformSphere
from vae_lightning.distributions.sphere.bessel import bessel
from vae_lightning.distributions.sphere.uniform import HypersphericalUniform
from vae_lightning.distributions.sphere.von_mises_fisher import VonMisesFisher
from vae_lightning.errors import ConfigError

DIMENSIONS = [2, 3, 5, 10, 20, 50, 100]
SPHERE = ("model/posterior=von_mises_fisher", "model/prior=uniform_sphere")


def around(kappa: float, dimensions: int, *batch: int) -> VonMisesFisher:
    """A distribution around some direction, in double precision."""
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(*batch, dimensions, generator=generator).double()
    concentration = torch.full(batch, kappa, dtype=torch.float64)
    return VonMisesFisher(F.normalize(direction, dim=-1), concentration)


def uniform(dimensions: int) -> HypersphericalUniform:
    return HypersphericalUniform(torch.zeros(dimensions).double())


def angle_distribution(kappa: float, dimensions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid of angles to the mean direction, their density and their distribution function."""
    grid = np.linspace(0, math.pi, 40_001)
    with np.errstate(divide="ignore"):
        density = np.exp(kappa * (np.cos(grid) - 1)) * np.sin(grid) ** (dimensions - 2)
    cumulative = integrate.cumulative_simpson(density, x=grid, initial=0)
    return grid, density / cumulative[-1], cumulative / cumulative[-1]


def sphere_integral(q: Distribution) -> Tensor:
    """The mass on the circle or the sphere, (B,)."""
    if q.event_shape[0] == 2:
        turn = torch.arange(2000).double() * (2 * math.pi / 2000)
        points = torch.stack([turn.cos(), turn.sin()], -1)
        weights = torch.full_like(turn, 2 * math.pi / 2000)
    else:
        nodes, height_weights = (
            torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(200)
        )
        turn = torch.arange(400).double() * (2 * math.pi / 400)
        height, turn = torch.meshgrid(nodes, turn, indexing="ij")
        radius = (1 - height**2).sqrt()
        points = torch.stack([radius * turn.cos(), radius * turn.sin(), height], -1).flatten(0, 1)
        weights = (height_weights * 2 * math.pi / 400).repeat_interleave(400)
    density = q.log_prob(points.unsqueeze(1)).exp()  # (N, B)
    return (weights.unsqueeze(-1) * density).sum(0)


# -- Bessel functions -----------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_bessel_function_and_ratio_agree_with_scipy(dimensions: int) -> None:
    order = dimensions / 2 - 1
    x = torch.logspace(-3, 3, 200, dtype=torch.float64)
    log_scaled, ratio = bessel(order, x)
    expected, above = (special.ive(v, x.numpy()) for v in (order, order + 1))
    value = torch.exp(log_scaled + order * torch.log(x / 2) - math.lgamma(order + 1)).numpy()
    for ours, true in ((value, expected), (ratio.numpy(), above / expected)):
        known = above > 1e-290  # scipy's own vanish below
        assert known.sum() > 80
        np.testing.assert_allclose(ours[known], true[known], rtol=1e-7)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_derivatives_of_bessel_functions_agree_with_differences(dimensions: int) -> None:
    order = dimensions / 2 - 1
    x = torch.logspace(-2, 3, 60, dtype=torch.float64, requires_grad=True)
    step = 1e-4 * x.detach()
    outputs = bessel(order, x)
    high, low = (bessel(order, x.detach() + sign * step) for sign in (1, -1))
    for output, up, down in zip(outputs, high, low, strict=True):
        (slope,) = torch.autograd.grad(output.sum(), x, retain_graph=True)
        difference = (up - down) / (2 * step)
        torch.testing.assert_close(slope, difference, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_bessel_functions_in_single_precision_are_near_those_in_double(dimensions: int) -> None:
    order = dimensions / 2 - 1
    x = torch.cat([torch.zeros(1), torch.logspace(-6, 7, 200)]).requires_grad_()
    exact = x.detach().double().requires_grad_()
    for ours, true in zip(bessel(order, x), bessel(order, exact), strict=True):
        (slope,) = torch.autograd.grad(ours.sum(), x, retain_graph=True)
        (true_slope,) = torch.autograd.grad(true.sum(), exact, retain_graph=True)
        torch.testing.assert_close(ours.double(), true, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(slope.double(), true_slope, rtol=1e-4, atol=1e-6)


# -- densities ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("kappa", [0.0, 0.5, 7.0, 80.0])
def test_density_on_the_circle_and_the_sphere_integrates_to_one(
    dimensions: int, kappa: float
) -> None:
    mass = sphere_integral(around(kappa, dimensions, 3))
    torch.testing.assert_close(mass, torch.ones(3).double(), rtol=1e-7, atol=0)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_uniform_density_on_the_circle_and_the_sphere_integrates_to_one(dimensions: int) -> None:
    mass = sphere_integral(HypersphericalUniform(torch.zeros(1, dimensions).double()))
    torch.testing.assert_close(mass, torch.ones(1).double(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_without_concentration_it_is_the_uniform_distribution(dimensions: int) -> None:
    q, p = around(0.0, dimensions, 2), uniform(dimensions)
    z = p.sample((5, 2))
    torch.testing.assert_close(q.log_prob(z), p.log_prob(z))
    torch.testing.assert_close(kl_divergence(q, p), torch.zeros(2).double())


@pytest.mark.parametrize(
    ("dimensions", "kappa"), [(2, 0.3), (2, 900.0), (3, 4.0), (10, 60.0), (100, 0.3), (100, 900.0)]
)
def test_rate_to_the_uniform_prior_agrees_with_its_estimate_from_samples(
    dimensions: int, kappa: float
) -> None:
    torch.manual_seed(0)
    q, p = around(kappa, dimensions), uniform(dimensions)
    z = q.sample((20_000,))
    estimate = q.log_prob(z) - p.log_prob(z)
    standard_error = estimate.std() / math.sqrt(len(estimate))
    rate = kl_divergence(q, p)
    assert rate > 0
    assert (estimate.mean() - rate).abs() < 4 * standard_error


# -- samples --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_samples_have_length_one(dimensions: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    kappa = torch.tensor([1e-3, 1.0, 30.0, 1e3, 1e6], dtype=dtype)
    direction = F.normalize(torch.randn(5, dimensions, dtype=dtype), dim=-1)
    z = VonMisesFisher(direction, kappa).sample((200,))
    assert z.dtype == dtype
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(200, 5, dtype=dtype))


@pytest.mark.parametrize(
    ("dimensions", "kappa"),
    [(2, 0.1), (2, 1000.0), (3, 2.0), (3, 40.0), (5, 0.1), (10, 2.0), (50, 40.0), (50, 1000.0)],
)
def test_angles_of_samples_follow_the_marginal_density(dimensions: int, kappa: float) -> None:
    torch.manual_seed(0)
    count = 20_000
    q = around(kappa, dimensions)
    angles = torch.acos((q.sample((count,)) * q.direction).sum(-1).clamp(-1, 1)).sort().values
    grid, _, cumulative = angle_distribution(kappa, dimensions)
    expected = np.interp(angles.numpy(), grid, cumulative)
    steps = np.arange(count + 1) / count
    statistic = max(np.max(steps[1:] - expected), np.max(expected - steps[:-1]))
    # Kolmogorov's statistic is above this once in a million.
    assert statistic < 2.7 / math.sqrt(count)


@pytest.mark.parametrize("dimensions", [2, 3, 10])
def test_mean_of_samples_is_the_mean_vector_of_each_in_the_batch(dimensions: int) -> None:
    torch.manual_seed(0)
    direction = F.normalize(torch.randn(3, dimensions).double(), dim=-1)
    q = VonMisesFisher(direction, torch.tensor([0.5, 5.0, 200.0]).double())
    z = q.sample((40_000,))
    assert z.shape == (40_000, 3, dimensions)
    # What is aside of the direction has a mean of zero as well.
    error = (z.mean(0) - q.mean).abs()
    assert (error < 5 * z.std(0) / math.sqrt(len(z))).all()
    assert (q.resultant_length - q.mean.norm(dim=-1)).abs().max() < 1e-12


def test_uniform_samples_have_length_one_and_no_preferred_direction() -> None:
    torch.manual_seed(0)
    z = uniform(4).sample((40_000,))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(40_000).double())
    assert (z.mean(0).abs() < 5 * 0.5 / 200).all()
    torch.testing.assert_close(z.T @ z / len(z), torch.eye(4).double() / 4, rtol=0, atol=0.01)


# -- gradients of samples -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("dimensions", "kappa"), [(2, 1.0), (2, 1000.0), (3, 30.0), (10, 1.0), (100, 30.0), (100, 1e3)]
)
def test_gradient_of_an_angle_keeps_its_quantile(
    dimensions: int, kappa: float, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    concentration = torch.full((60,), kappa, dtype=dtype, requires_grad=True)
    direction = F.one_hot(torch.zeros(60, dtype=torch.long), dimensions).to(dtype)
    z = VonMisesFisher(direction, concentration).rsample()
    (slope,) = torch.autograd.grad(z[:, 0].sum(), concentration)
    cosine = z[:, 0].detach().double().numpy()
    # Off by single precision's rounding of a cosine near one, so not at the very ends.
    angle = np.arctan2(z[:, 1:].detach().double().norm(dim=-1).numpy(), cosine)
    grid, density, _ = angle_distribution(kappa, dimensions)
    high, low = (angle_distribution(kappa * (1 + step), dimensions)[2] for step in (1e-4, -1e-4))
    moved = -(high - low) / (2e-4 * kappa) / density.clip(1e-300)
    index = np.interp(angle, grid, np.arange(len(grid))).round().astype(int)
    expected = -np.sin(angle) * moved[index]
    inner = (density[index] > 1e-3 * density.max()) & (index > 100)
    assert inner.sum() > 40
    np.testing.assert_allclose(slope.numpy()[inner], expected[inner], rtol=0.02)
    assert (slope > 0).all()


@pytest.mark.parametrize(("dimensions", "kappa"), [(2, 1.0), (2, 100.0), (3, 10.0), (6, 1.0)])
def test_gradient_of_an_expectation_is_unbiased(dimensions: int, kappa: float) -> None:
    torch.manual_seed(0)
    count = 40_000
    concentration = torch.full((count,), kappa, dtype=torch.float64, requires_grad=True)
    direction = around(kappa, dimensions).direction
    z = VonMisesFisher(direction.expand(count, -1), concentration).rsample()
    cosine = (z * direction).sum(-1)
    (slopes,) = torch.autograd.grad((cosine**2 + cosine.exp()).sum(), concentration)

    def expectation(kappa: float) -> float:
        grid, density, _ = angle_distribution(kappa, dimensions)
        value = np.cos(grid) ** 2 + np.exp(np.cos(grid))
        return float(integrate.simpson(density * value, x=grid))

    expected = (expectation(kappa * 1.001) - expectation(kappa * 0.999)) / (0.002 * kappa)
    standard_error = slopes.std().item() / math.sqrt(count)
    # The score's part, which rejection alone would lose, is many times that.
    assert standard_error < 0.01 * abs(expected)
    assert abs(slopes.mean().item() - expected) < 4 * standard_error


def test_gradient_by_the_direction_is_that_of_the_mean() -> None:
    torch.manual_seed(0)
    count, weight = 100_000, torch.tensor([0.3, -1.0, 2.0]).double()
    free = torch.tensor([1.0, 2.0, -0.5]).double().requires_grad_()
    kappa = torch.tensor(3.0).double()
    z = VonMisesFisher(F.normalize(free, dim=-1), kappa).rsample((count,))
    (sampled,) = torch.autograd.grad((z @ weight).mean(), free)
    exact = VonMisesFisher(F.normalize(free, dim=-1), kappa)
    (expected,) = torch.autograd.grad(exact.mean @ weight, free)
    torch.testing.assert_close(sampled, expected, rtol=0.02, atol=0.005)


def test_a_sample_turns_with_the_direction() -> None:
    torch.manual_seed(0)
    free = torch.tensor([1.0, 2.0, -0.5]).double().requires_grad_()
    q = VonMisesFisher(F.normalize(free, dim=-1), torch.tensor(3.0).double())
    # So that its density stays as it is.
    (gradient,) = torch.autograd.grad(q.log_prob(q.rsample()), free)
    assert gradient.abs().max() < 1e-12


def test_gradient_of_the_rate_agrees_with_differences() -> None:
    kappa = torch.tensor([0.01, 1.0, 30.0, 1000.0]).double().requires_grad_()
    direction = around(1.0, 7, 4).direction
    assert torch.autograd.gradcheck(
        lambda kappa: kl_divergence(VonMisesFisher(direction, kappa), uniform(7)), (kappa,)
    )


def test_gradients_stay_finite_in_single_precision() -> None:
    torch.manual_seed(0)
    for dimensions in DIMENSIONS:
        kappa = torch.logspace(-3, 6, 50).requires_grad_()
        direction = F.normalize(torch.randn(50, dimensions), dim=-1).requires_grad_()
        q = VonMisesFisher(direction, kappa)
        z = q.rsample((40,))
        (z.square() + z).sum().backward()
        q = VonMisesFisher(direction, kappa)
        (q.log_prob(z.detach()).sum() + kl_divergence(q, uniform(dimensions)).sum()).backward()
        for part in (kappa, direction):
            assert part.grad is not None
            assert part.grad.isfinite().all()


# -- in a model -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("dimensions", "objective"), [(2, "log_weight"), (3, "rate")])
def test_every_parameter_gets_a_gradient(dimensions: int, objective: str) -> None:
    torch.manual_seed(0)
    model = composed_model(*SPHERE, f"model.latent_dim={dimensions}", "model.encoder.hidden=[8]")
    trace = model(torch.rand(4, 1, 28, 28), 3)
    loss = -trace.log_weight.logsumexp(0) if objective == "log_weight" else -trace.elbo
    loss.sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()
    assert (trace.rate == trace.rate[0]).all()
    assert model.sample(5).shape == model.reconstruct(torch.rand(5, 1, 28, 28)).shape


def test_head_gives_a_length_of_one_and_a_concentration_of_at_least_one() -> None:
    torch.manual_seed(0)
    q = VonMisesFisherPosterior(5, 4)(20 * torch.randn(7, 3, 5))
    assert isinstance(q, VonMisesFisher)
    assert q.batch_shape == (7, 3)
    assert q.event_shape == (4,)
    torch.testing.assert_close(q.direction.norm(dim=-1), torch.ones(7, 3))
    assert (q.concentration >= 1).all()
    assert q.sample((2,)).shape == (2, 7, 3, 4)


def test_a_mixture_on_the_circle_has_samples_and_a_density() -> None:
    torch.manual_seed(0)
    weights = Categorical(logits=torch.zeros(3).double())
    mixture = MixtureSameFamily(weights, around(9.0, 2, 3), validate_args=False)
    assert mixture.sample((6,)).shape == (6, 2)
    turn = torch.arange(2000).double() * (2 * math.pi / 2000)
    points = torch.stack([turn.cos(), turn.sin()], -1)
    assert mixture.log_prob(points).exp().mean().item() * 2 * math.pi == pytest.approx(1)


@pytest.mark.parametrize("part", [lambda: VonMisesFisherPosterior(4, 1), lambda: UniformSphere(1)])
def test_a_sphere_in_one_dimension_is_refused(part: object) -> None:
    with pytest.raises(ValueError, match=r"^latent_dim=1 is out of range"):
        part()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("option", "choice"),
    [
        ("model/posterior=von_mises_fisher", "model/prior=uniform_sphere"),
        ("model/prior=uniform_sphere", "model/prior=standard_normal"),
    ],
)
def test_a_prior_in_another_space_than_the_posterior_is_refused(option: str, choice: str) -> None:
    where = r"the prior is .+ and the posterior (on the sphere|in Euclidean space), so the KL"
    with pytest.raises(ConfigError, match=f"{where}.* choose .*{choice}"):
        composed_model(option)


def test_images_are_decoded_from_points_on_the_sphere() -> None:
    torch.manual_seed(0)
    model = composed_model("experiment=hyperspherical", "paths.run_dir=unused")
    images = torch.rand(5, 1, 28, 28)
    latents, within = model.latent_means(images), model.encode(images).mean
    torch.testing.assert_close(latents.norm(dim=-1), torch.ones(5))
    assert (within.norm(dim=-1) < 0.9).all()
    torch.testing.assert_close(latents * within.norm(dim=-1, keepdim=True), within)


def test_the_experiment_is_on_the_sphere() -> None:
    model = composed_model("experiment=hyperspherical")
    assert model.posterior.space == model.prior.space == "sphere"
    assert model.latent_dim == 10
    assert compose("train", ["experiment=hyperspherical"]).data.binarize == "dynamic"
