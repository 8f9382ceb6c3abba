"""Densities, their gradients and their divergences against torch's own, formulas and integrals."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    StudentT,
    kl_divergence,
)

from option_grid import option
from tiny import spaces
from vae_lightning.config import instantiate
from vae_lightning.distributions.kl import rate_per_dimension
from vae_lightning.distributions.likelihoods import bernoulli, normal
from vae_lightning.distributions.posteriors.diagonal_normal import DiagonalNormal
from vae_lightning.distributions.priors.standard_normal import StandardNormal
from vae_lightning.models import Latent

# Those in Euclidean space that have a density; the others have tests of their own.
POSTERIORS = sorted(
    name
    for name, space in spaces("model/posterior").items()
    if space == "euclidean" and name != "deterministic"
)
PRIORS = sorted(
    name for name, space in spaces("model/prior").items() if space in ("euclidean", None)
)

LOGITS = [0.0, 0.01, -0.5, 3.0, -7.0, 30.0, -30.0, 100.0, -100.0]
PIXELS = [0.0, 0.3, 0.99, 1.0]


def linear_head(features: int, latent_dim: int) -> DiagonalNormal:
    torch.manual_seed(0)
    return DiagonalNormal(features, latent_dim, scale="log_variance").double()


def encode_nothing(_: Tensor) -> Distribution:
    raise AssertionError("a standard normal does not encode images")


def standard_normal(latent_dim: int) -> Distribution:
    return StandardNormal(latent_dim).double()(encode_nothing)


def rate(posterior: Distribution, prior: Distribution, z: Tensor) -> Tensor:
    return Latent(z, posterior, prior).rate


def integral(log_density: Tensor, grid: Tensor) -> Tensor:
    """Over the first dimension."""
    return torch.trapezoid(log_density.exp(), grid, dim=0)


def one_pixel(logits: Tensor) -> bernoulli.BernoulliImage:
    """Images of a single pixel, so that each log-probability is a result."""
    return bernoulli.BernoulliImage(logits.unsqueeze(-1), (1, 1, 1))


def image(pixels: Tensor) -> Tensor:
    return pixels[..., None, None, None]


# -- Bernoulli images -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bernoulli_pixels_agree_with_torch_in_value_and_gradient(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    logits = torch.cat([torch.tensor(LOGITS), 10 * torch.randn(50)]).to(dtype)
    value = torch.tensor(PIXELS, dtype=dtype)[:, None].expand(-1, len(logits))
    ours = logits.clone().requires_grad_()
    exact = logits.double().requires_grad_()
    log_prob = one_pixel(ours).log_prob(image(value))
    reference = Bernoulli(logits=exact, validate_args=False).log_prob(value.double())
    # The logit's own rounding, and about 1e-7 nats where the logit is small.
    tolerance = torch.finfo(dtype).eps * (1 + exact.detach().abs())
    assert log_prob.dtype == dtype
    assert ((log_prob - reference).abs() <= tolerance).all()
    for row in range(len(PIXELS)):
        (gradient,) = torch.autograd.grad(log_prob[row].sum(), ours, retain_graph=True)
        (true,) = torch.autograd.grad(reference[row].sum(), exact, retain_graph=True)
        # Gradients are below 1.
        torch.testing.assert_close(gradient.double(), true, rtol=0, atol=2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("pixel", PIXELS)
def test_gradient_at_a_logit_of_zero_is_the_pixel_less_one_half(pixel: float) -> None:
    logits = torch.zeros((), requires_grad=True)
    one_pixel(logits).log_prob(image(torch.tensor(pixel))).backward()
    assert logits.grad is not None
    assert logits.grad.item() == pytest.approx(pixel - 0.5, abs=1e-7)


def test_bernoulli_pixels_pass_gradients_through_broadcasting() -> None:
    torch.manual_seed(0)
    shapes = [((3, 4, 5), (4, 5)), ((4, 5), (3, 4, 5)), ((4, 1), (1, 5))]
    for logits_shape, pixels_shape in shapes:
        logits = (5 * torch.randn(logits_shape).double()).requires_grad_()
        pixels = torch.rand(pixels_shape).double().requires_grad_()
        ours = one_pixel(logits).log_prob(image(pixels))
        reference = Bernoulli(logits=logits, validate_args=False).log_prob(pixels)
        weights = torch.randn(ours.shape).double()
        gradients = torch.autograd.grad((weights * ours).sum(), (logits, pixels))
        expected = torch.autograd.grad((weights * reference).sum(), (logits, pixels))
        torch.testing.assert_close(gradients, expected)


@pytest.mark.parametrize("logit", [-1e4, -100.0, 100.0, 1e4])
def test_bernoulli_pixels_stay_finite_far_from_zero(logit: float) -> None:
    logits = torch.full((2,), logit, requires_grad=True)
    log_prob = one_pixel(logits).log_prob(image(torch.tensor([0.0, 1.0])))
    log_prob.sum().backward()
    assert log_prob.tolist() == [min(0.0, -logit), min(0.0, logit)]
    # The gradient of a wrong pixel is its whole weight, that of a right one zero.
    assert logits.grad is not None
    assert logits.grad.tolist() == ([-1.0, 0.0] if logit > 0 else [0.0, 1.0])


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 5, 7), (1, 1, 113), (1, 1, 127), (2, 30, 4)])
@pytest.mark.parametrize("scale", [0.01, 3.0, 300.0])
def test_bernoulli_image_agrees_with_torch_for_any_number_of_pixels(
    shape: tuple[int, ...], scale: float
) -> None:
    torch.manual_seed(0)
    pixels = math.prod(shape)
    logits = (scale * torch.randn(3, 2, pixels)).requires_grad_()
    x = torch.rand(2, *shape)
    ours = bernoulli.BernoulliImage(logits, shape).log_prob(x)
    exact = logits.detach().double().unflatten(-1, shape).requires_grad_()
    each = Bernoulli(logits=exact, validate_args=False).log_prob(x.double())
    reference = each.sum((-3, -2, -1))
    assert ours.shape == (3, 2)
    # Rounding alone: of each pixel's logarithm, and of their sum.
    tolerance = 4 * torch.finfo(torch.float32).eps * (pixels + each.abs().sum((-3, -2, -1)))
    assert ((ours - reference).abs() <= tolerance).all()
    weights = torch.randn(3, 2)
    (gradient,) = torch.autograd.grad((weights * ours).sum(), logits)
    (true,) = torch.autograd.grad((weights * reference).sum(), exact)
    torch.testing.assert_close(gradient.unflatten(-1, shape).double(), true, rtol=0, atol=2e-6)


def test_bernoulli_image_is_the_same_without_gradients_and_has_second_derivatives() -> None:
    torch.manual_seed(0)
    logits = 5 * torch.randn(3, 2, 6, dtype=torch.float64)
    x = torch.rand(2, 1, 2, 3, dtype=torch.float64, requires_grad=True)

    def log_prob(logits: Tensor, x: Tensor) -> Tensor:
        return bernoulli.BernoulliImage(logits, (1, 2, 3)).log_prob(x)

    learned = logits.clone().requires_grad_()
    torch.testing.assert_close(log_prob(learned, x), log_prob(logits, x), rtol=1e-14, atol=1e-14)
    assert torch.autograd.gradcheck(log_prob, (learned, x))
    assert torch.autograd.gradgradcheck(log_prob, (learned, x))
    one = learned[:1, :1]  # scored with each of the images
    assert torch.autograd.gradcheck(log_prob, (one, x))
    assert torch.equal(log_prob(one, x), log_prob(one.expand(1, 2, 6), x))


def test_bernoulli_image_in_half_precision_is_summed_in_single_precision() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 784)
    x = torch.rand(4, 1, 28, 28)
    for dtype in (torch.bfloat16, torch.float16):
        rough = bernoulli.BernoulliImage(logits.to(dtype), (1, 28, 28)).log_prob(x)
        same = bernoulli.BernoulliImage(logits.to(dtype).float(), (1, 28, 28)).log_prob(x)
        assert rough.dtype == torch.float32
        assert torch.equal(rough, same)


def test_bernoulli_image_samples_have_the_mean_of_the_pixels() -> None:
    torch.manual_seed(0)
    image = bernoulli.BernoulliImage(torch.tensor([[-2.0, 0.0, 1.0, 4.0]]), (1, 2, 2))
    samples = image.sample((20_000,))
    assert samples.shape == (20_000, 1, 1, 2, 2)
    assert set(samples.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(samples.mean(0), image.mean, rtol=0, atol=0.015)


def test_bernoulli_likelihood_sums_to_one_over_all_binary_images() -> None:
    torch.manual_seed(0)
    likelihood = bernoulli.Bernoulli(3, (1, 2, 3), start_at_mean=False).double()(
        torch.randn(2, 3).double()
    )
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 6).double()
    log_prob = likelihood.log_prob(images.reshape(64, 1, 1, 2, 3))  # (64, B)
    torch.testing.assert_close(log_prob.exp().sum(0), torch.ones(2).double())


# -- Normal pixels --------------------------------------------------------------------------------


def test_normal_likelihood_at_the_root_of_one_half_is_minus_the_summed_squared_error() -> None:
    torch.manual_seed(0)
    likelihood = normal.Normal(3, (1, 2, 3), start_at_mean=False, scale=math.sqrt(0.5)).double()(
        torch.randn(4, 3).double()
    )
    x = torch.rand(4, 1, 2, 3).double()
    squared_error = ((x - likelihood.mean) ** 2).sum((1, 2, 3))
    constant = -6 * 0.5 * math.log(math.pi)
    torch.testing.assert_close(likelihood.log_prob(x), constant - squared_error)


@pytest.mark.parametrize("scale", [0.1, 2.0])
def test_normal_likelihood_has_the_scale_that_is_set(scale: float) -> None:
    likelihood = normal.Normal(3, (1, 1, 1), start_at_mean=False, scale=scale)(torch.zeros(1, 3))
    assert likelihood.stddev.item() == pytest.approx(scale)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_normal_likelihood_refuses_a_scale_out_of_range(scale: float) -> None:
    with pytest.raises(ValueError, match=f"^scale={scale} is out of range"):
        normal.Normal(3, (1, 1, 1), start_at_mean=False, scale=scale)


# -- the rate -------------------------------------------------------------------------------------


def test_rate_to_the_standard_normal_agrees_with_the_formula() -> None:
    head = linear_head(6, 3)
    features = torch.randn(5, 6).double()
    mean, log_variance = head.head(features).chunk(2, -1)
    expected = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1)
    torch.testing.assert_close(
        rate(head(features), standard_normal(3), torch.zeros(2, 5, 3)), expected.expand(2, 5)
    )


def heavy_tailed() -> Distribution:
    """A posterior of which torch has no divergence to a normal prior."""
    location = torch.tensor([[0.5], [-1.0]], dtype=torch.float64)
    return Independent(StudentT(torch.tensor(5.0).double(), location, 0.7), 1)


def test_rate_is_sampled_for_a_pair_that_torch_has_no_closed_form_for() -> None:
    torch.manual_seed(0)
    q, p = heavy_tailed(), standard_normal(1)
    with pytest.raises(NotImplementedError):
        kl_divergence(q, p)
    z = q.rsample((200_000,))
    sampled = rate(q, p, z)  # (K, B)
    torch.testing.assert_close(sampled, q.log_prob(z) - p.log_prob(z), rtol=0, atol=0)
    assert (sampled[0] != sampled[1]).all()

    # The density falls as z to the power of minus 6: what lies beyond 400 is below 1e-7 nats.
    grid = torch.linspace(-400, 400, 800_001, dtype=torch.float64)
    points = grid[:, None, None].expand(-1, 2, 1)
    log_q = q.log_prob(points)
    expected = torch.trapezoid(log_q.exp() * (log_q - p.log_prob(points)), grid, dim=0)
    standard_error = sampled.std(0) / math.sqrt(len(sampled))
    assert (standard_error < 0.01).all()
    assert ((sampled.mean(0) - expected).abs() < 5 * standard_error).all()


def test_rate_per_dimension_sums_to_the_rate() -> None:
    head = linear_head(6, 3)
    q, p = head(torch.randn(5, 6).double()), standard_normal(3)
    split = rate_per_dimension(q, p)
    assert split is not None
    assert split.shape == (5, 3)
    torch.testing.assert_close(split.sum(-1), rate(q, p, torch.zeros(1, 5, 3))[0])
    single = Independent(Normal(q.mean[:, :1], q.stddev[:, :1]), 1)
    expected = rate(single, standard_normal(1), torch.zeros(1, 5, 1))[0]
    torch.testing.assert_close(split[:, 0], expected)


def test_rate_per_dimension_is_none_where_dimensions_do_not_separate() -> None:
    full = MultivariateNormal(torch.zeros(2, 3), torch.eye(3))
    independent = Independent(Normal(torch.zeros(2, 3), 1.0), 1)
    assert rate_per_dimension(full, independent) is None
    assert rate_per_dimension(independent, full) is None


def test_rate_per_dimension_is_none_without_a_closed_form() -> None:
    assert rate_per_dimension(heavy_tailed(), standard_normal(1)) is None


# -- all families ---------------------------------------------------------------------------------


def posterior_of(name: str, latent_dim: int) -> Distribution:
    torch.manual_seed(0)
    head = instantiate(option("model/posterior", name), "model.posterior")
    return head(in_features=6, latent_dim=latent_dim).double()(torch.randn(4, 6).double())


def prior_of(name: str, latent_dim: int) -> Distribution:
    torch.manual_seed(0)
    prior = instantiate(option("model/prior", name), "model.prior")(latent_dim=latent_dim)
    encoder = linear_head(16, latent_dim)
    return prior.double()(lambda images: encoder(images.flatten(1)))


@pytest.mark.parametrize("name", POSTERIORS)
def test_posterior_has_a_batch_of_images_and_an_event_of_latents(name: str) -> None:
    posterior = posterior_of(name, 3)
    assert posterior.batch_shape == (4,)
    assert posterior.event_shape == (3,)
    z = posterior.rsample((5,))
    assert z.shape == (5, 4, 3)
    assert posterior.log_prob(z).shape == (5, 4)
    assert z.requires_grad


@pytest.mark.parametrize("name", PRIORS)
def test_prior_has_no_batch_and_an_event_of_latents(name: str) -> None:
    prior = prior_of(name, 3)
    assert prior.batch_shape == ()
    assert prior.event_shape == (3,)
    assert prior.sample((5,)).shape == (5, 3)
    # K samples of B images are scored in one call.
    assert prior.log_prob(torch.randn(5, 4, 3).double()).shape == (5, 4)


# Two dimensions are tested with each family; flows of one dimension are other code.
@pytest.mark.parametrize("name", POSTERIORS)
@torch.no_grad()
def test_posterior_density_in_one_dimension_integrates_to_one(name: str) -> None:
    grid = torch.linspace(-20, 20, 8001, dtype=torch.float64)
    posterior = posterior_of(name, 1)
    mass = integral(posterior.log_prob(grid[:, None, None].expand(-1, 4, 1)), grid)
    torch.testing.assert_close(mass, torch.ones(4).double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", PRIORS)
@torch.no_grad()
def test_prior_density_in_one_dimension_integrates_to_one(name: str) -> None:
    grid = torch.linspace(-20, 20, 8001, dtype=torch.float64)
    mass = integral(prior_of(name, 1).log_prob(grid[:, None]), grid)
    torch.testing.assert_close(mass, torch.ones(()).double(), rtol=1e-6, atol=0)


def test_standard_normal_learns_nothing_and_follows_the_model_in_type() -> None:
    prior: nn.Module = StandardNormal(2)
    assert list(prior.parameters()) == []
    # Nothing in the checkpoint either.
    assert prior.state_dict() == {}
    assert prior.double()(encode_nothing).sample().dtype == torch.float64
