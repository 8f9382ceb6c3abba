"""Every likelihood: common behaviour, and known answers for each."""

import functools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli

from tiny import head, options, tiny_vae
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.distributions.likelihoods import categorical
from vae_lightning.distributions.likelihoods.categorical import Categorical
from vae_lightning.distributions.likelihoods.continuous_bernoulli import ContinuousBernoulliImage
from vae_lightning.distributions.likelihoods.discretized_logistic import DiscretizedLogistic
from vae_lightning.distributions.likelihoods.laplace import Laplace
from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.distributions.likelihoods.normal_learned import NormalLearned
from vae_lightning.distributions.likelihoods.numerics import bisect
from vae_lightning.errors import ConfigError
from vae_lightning.metrics.bounds import bound_name

# Every option file, and what else it offers.
VARIANTS = [
    *options("model/likelihood"),
    "normal_learned scale=optimal",
    "discretized_logistic scale=pixel",
]
OF_GREY_VALUES = [
    variant for variant in VARIANTS if variant.startswith(("discretized_logistic", "categorical"))
]
OF_DENSITIES = [
    variant for variant in VARIANTS if variant != "bernoulli" and variant not in OF_GREY_VALUES
]
IN_UNIT_INTERVAL = ("continuous_bernoulli",)
GREY = torch.arange(256, dtype=torch.float64) / 255
SHAPE = (2, 3, 4)


def likelihood_of(
    variant: str, in_features: Any = 5, image_shape: Any = SHAPE, **more: Any
) -> Likelihood:
    """The likelihood of an option file, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return factory(variant)(in_features=in_features, image_shape=image_shape, **more)


@functools.cache
def factory(variant: str) -> Any:
    option, *changes = variant.split()
    overrides = [f"model.likelihood.{change}" for change in changes]
    config = to_container(compose("train", [f"model/likelihood={option}", *overrides]).model)
    return instantiate(config["likelihood"], "model.likelihood")


def images(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, shape, generator=generator) / 255


def gradient_of(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def data_with_mean(mean: Tensor) -> Any:
    """Training images of which only the mean is used."""
    return SimpleNamespace(mean_image=lambda: mean)


def one_pixel(variant: str, features: Tensor) -> Any:
    """Distributions of images of a single pixel."""
    likelihood = likelihood_of(variant, 1, (1, 1, 1)).to(features.dtype).eval()
    return likelihood(features)


def each_alone(values: Tensor) -> Tensor:
    """Images of a single pixel, (N, 1, 1, 1, 1): one for every distribution of a batch."""
    return values.reshape(-1, 1, 1, 1, 1)


# -- all likelihoods -------------------------------------------------------------------------------


@pytest.mark.parametrize("in_features", [5, (5, 3, 4)], ids=["vector", "maps"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_batch_is_that_of_the_features_and_the_event_an_image(
    variant: str, in_features: int | tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    sizes = (in_features,) if isinstance(in_features, int) else in_features
    for dtype, training in ((torch.float32, True), (torch.float64, False)):
        likelihood = likelihood_of(variant, in_features).to(dtype).train(training)
        p = likelihood(torch.randn(7, 6, *sizes, dtype=dtype))
        mean = p.mean
        assert p.batch_shape == (7, 6)
        assert p.event_shape == SHAPE
        assert mean.shape == (7, 6, *SHAPE)
        assert p.sample().shape == (7, 6, *SHAPE)
        samples = p.sample(torch.Size((3, 2)))
        assert samples.shape == (3, 2, 7, 6, *SHAPE)
        assert not samples.requires_grad
        log_prob = p.log_prob(images(6, *SHAPE).to(dtype))
        assert log_prob.shape == (7, 6)
        assert log_prob.isfinite().all()
        assert {mean.dtype, samples.dtype, log_prob.dtype} == {dtype}


@pytest.mark.parametrize("variant", VARIANTS)
def test_broadcasting_does_not_change_the_score_of_an_image(variant: str) -> None:
    torch.manual_seed(0)
    likelihood = likelihood_of(variant).double().eval()
    features, x = torch.randn(4, 3, 5).double(), images(3, *SHAPE).double()
    many = likelihood(features).log_prob(x)
    for k in range(4):
        for b in range(3):
            alone = likelihood(features[k, b]).log_prob(x[b])
            assert alone.shape == ()
            torch.testing.assert_close(many[k, b], alone)
    assert (many[0] != many[1]).all()
    # More images than distributions.
    torch.testing.assert_close(
        likelihood(features[0, 0]).log_prob(x), likelihood(features[0, :1].expand(3, 5)).log_prob(x)
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_log_probability_of_a_pixel_depends_on_its_own_parameters_only(variant: str) -> None:
    torch.manual_seed(0)
    likelihood = likelihood_of(variant).double().eval()
    p, x = likelihood(torch.randn(5).double()), images(*SHAPE).double()
    # A change of one pixel costs the same whatever the others are: there is no more to a sum.
    other = images(2, *SHAPE).double()[1]
    change = torch.zeros(SHAPE).bool()
    change[1, 2, 3] = True
    for start in (x, other):
        moved = torch.where(change, 0.2, start), torch.where(change, 0.8, start)
        cost = p.log_prob(moved[0]) - p.log_prob(moved[1])
        if start is x:
            expected = cost
    torch.testing.assert_close(cost, expected)
    # And it depends on the mean of that very pixel.
    features = torch.randn(5).double().requires_grad_()
    cost_gradient = torch.autograd.grad(
        likelihood(features).log_prob(moved[0]) - likelihood(features).log_prob(moved[1]),
        likelihood.head.bias,
    )[0]
    touched = cost_gradient.unflatten(0, (-1, *SHAPE)).abs().sum(0) > 0
    assert torch.equal(touched, change)


@pytest.mark.parametrize("variant", VARIANTS)
def test_mean_is_that_of_the_samples(variant: str) -> None:
    torch.manual_seed(0)
    likelihood = likelihood_of(variant).eval()
    with torch.no_grad():
        p = likelihood(torch.randn(2, 5))
        samples = p.sample(torch.Size((20_000,)))
    standard_error = samples.std(0) / math.sqrt(len(samples))
    assert (standard_error > 0).any()
    # The largest of 48 deviates less, but for one time in ten thousand; the rest is for pixels of
    # which none was drawn that is not black.
    assert ((samples.mean(0) - p.mean).abs() < 4.9 * standard_error + 2e-4).all()
    # Different images have different means.
    assert ((p.mean[0] - p.mean[1]).abs() > 10 * standard_error[0] + 0.01).any()


# Both kinds of layer: they differ in the layer, not in the likelihood.
@pytest.mark.parametrize(
    ("variant", "in_features"), [*((variant, 5) for variant in VARIANTS), ("bernoulli", (5, 3, 4))]
)
def test_distribution_starts_at_the_mean_image_with_start_at_mean(
    variant: str, in_features: int | tuple[int, ...]
) -> None:
    mean = torch.linspace(0.011, 0.989, 24).reshape(SHAPE)
    likelihood = likelihood_of(variant, in_features, start_at_mean=True).eval()
    sizes = (in_features,) if isinstance(in_features, int) else in_features
    likelihood.initialize_from(data_with_mean(mean))
    start = likelihood(torch.zeros(1, *sizes)).mean[0]
    torch.testing.assert_close(start, mean, rtol=0, atol=1e-5)
    # Pixels that are always off, or always on, get a bias as well.
    extreme = torch.cat([torch.zeros(1, 3, 4), torch.ones(1, 3, 4)])
    likelihood.initialize_from(data_with_mean(extreme))
    assert likelihood.head.bias.isfinite().all()
    start = likelihood(torch.zeros(1, *sizes)).mean[0]
    torch.testing.assert_close(start, extreme, rtol=0, atol=0.0101)


@pytest.mark.parametrize("variant", VARIANTS)
def test_bias_is_left_alone_without_start_at_mean(variant: str) -> None:
    likelihood = likelihood_of(variant)
    before = {name: value.clone() for name, value in likelihood.state_dict().items()}
    likelihood.initialize_from(data_with_mean(torch.full(SHAPE, 0.3)))
    assert all(torch.equal(likelihood.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("size", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_gets_a_finite_gradient(variant: str, size: float) -> None:
    torch.manual_seed(0)
    likelihood = likelihood_of(variant)
    features = (size * torch.randn(2, 6, 5)).requires_grad_()
    log_prob = likelihood(features).log_prob(images(6, *SHAPE))
    assert log_prob.isfinite().all()
    log_prob.mean().backward()
    for name, parameter in likelihood.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any() or (size == 0 and name.startswith("head.")), name
    assert features.grad is not None
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_is_that_of_finite_differences(variant: str) -> None:
    torch.manual_seed(0)
    likelihood = likelihood_of(variant, 2, (1, 1, 3)).double()
    features = torch.randn(2, 2).double().requires_grad_()
    x = images(2, 1, 1, 3).double()
    parameters = list(likelihood.parameters())

    def total(*_: Tensor) -> Tensor:
        return likelihood(features).log_prob(x).sum()

    # With respect to the very tensors that the module holds, each changed in place.
    assert torch.autograd.gradcheck(total, (features, *parameters), atol=1e-5, fast_mode=True)


@pytest.mark.parametrize("variant", OF_DENSITIES)
def test_density_of_a_pixel_integrates_to_one(variant: str) -> None:
    low, high = (0.0, 1.0) if variant in IN_UNIT_INTERVAL else (-30.0, 31.0)
    grid = torch.linspace(low, high, 200_001, dtype=torch.float64)
    with torch.no_grad():
        p = one_pixel(variant, torch.tensor([[-9.0], [-0.3], [0.0], [0.7], [4.0]]).double())
        mass = torch.trapezoid(p.log_prob(each_alone(grid)).exp(), grid, dim=0)
        # What is scored is what is drawn: the second moments agree as well.
        second = torch.trapezoid(
            p.log_prob(each_alone(grid)).exp() * grid[:, None] ** 2, grid, dim=0
        )
        torch.manual_seed(0)
        squares = p.sample(torch.Size((40_000,))).flatten(1) ** 2
    torch.testing.assert_close(mass, torch.ones(5).double(), rtol=0, atol=1e-6)
    standard_error = squares.std(0) / 200
    assert ((squares.mean(0) - second).abs() < 4.5 * standard_error).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("variant", OF_GREY_VALUES)
def test_probabilities_of_the_grey_values_of_a_pixel_sum_to_one(
    variant: str, dtype: torch.dtype
) -> None:
    features = torch.tensor([[-50.0], [-1.0], [0.0], [0.3], [1.0], [7.0]], dtype=dtype)
    with torch.no_grad():
        p = one_pixel(variant, features)
        log_prob = p.log_prob(each_alone(GREY.to(dtype)))  # (256, 6)
        assert (log_prob <= 0).all()
        mass = log_prob.exp().sum(0)
        tolerance = 1e-4 if dtype == torch.float32 else 1e-12
        torch.testing.assert_close(mass, torch.ones(6, dtype=dtype), rtol=0, atol=tolerance)
        # The mean is that of these probabilities.
        mean = (log_prob.exp() * GREY.to(dtype)[:, None]).sum(0)
        torch.testing.assert_close(p.mean.flatten(), mean, rtol=0, atol=tolerance)
        # And what is drawn has them.
        torch.manual_seed(0)
        drawn = p.sample(torch.Size((20_000,))).flatten(1)  # (20_000, 6)
    values = (drawn.double() * 255).round()
    assert (drawn.double() * 255 - values).abs().max() < 1e-4
    dark = (drawn < 0.4).double().mean(0)
    expected = log_prob[:102].exp().sum(0).double()
    assert (
        (dark - expected).abs() < 4.5 * (expected * (1 - expected) / 20_000).sqrt() + 1e-6
    ).all()


@pytest.mark.parametrize("variant", OF_GREY_VALUES)
def test_pixels_between_grey_values_are_rounded_to_the_nearest(variant: str) -> None:
    p = likelihood_of(variant).eval()(torch.randn(5, generator=torch.Generator().manual_seed(0)))
    x = images(*SHAPE)
    nearby = (x + 0.4 / 255 * torch.where(x < 0.5, 1, -1)).clamp(0, 1)
    assert torch.equal(p.log_prob(nearby), p.log_prob(x))
    assert not torch.equal(p.log_prob(nearby), p.log_prob((x + 1 / 255).clamp(0, 1)))


@pytest.mark.parametrize("variant", OF_GREY_VALUES)
def test_half_precision_distinguishes_grey_values(variant: str) -> None:
    likelihood = likelihood_of(variant).eval()
    features, x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)), images(4, *SHAPE)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = likelihood(features).log_prob(x)
    exact = likelihood(features).log_prob(x)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0)


def test_bisection_is_accurate_to_the_last_digits() -> None:
    target = torch.tensor([-7.0, 0.001, 3.0]).double()
    limit = torch.full_like(target, 10.0)
    root = bisect(lambda x: x**3, target, -limit, limit)
    torch.testing.assert_close(root**3, target, rtol=1e-14, atol=0)


# -- continuous Bernoulli --------------------------------------------------------------------------

SLOPES = [0.0, 1e-30, 1e-8, -1e-4, 0.01, -0.3, 0.999, 1.001, -3.0, 12.0, -60.0, 300.0]


def slopes(dtype: torch.dtype) -> Tensor:
    return torch.tensor(SLOPES, dtype=dtype)[:, None]


def exact_log_normaliser(slope: float) -> float:
    """log((e^l - 1) / l), by a sum of positive terms."""
    # e^l - 1 over l is the sum of l^n / (n + 1)!, for l above 0; below, A(l) = l + A(-l).
    size = abs(slope)
    terms = [
        n * math.log(size) - math.lgamma(n + 2) if size else (0.0 if n == 0 else -math.inf)
        for n in range(1500)
    ]
    top = max(terms)
    value = top + math.log(math.fsum(math.exp(term - top) for term in terms))
    return value if slope >= 0 else value + slope


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_continuous_bernoulli_has_the_exact_constant_for_any_slope(dtype: torch.dtype) -> None:
    epsilon = torch.finfo(dtype).eps
    p = ContinuousBernoulliImage(slopes(dtype), (1, 1, 1))
    ours = -p.log_prob(torch.zeros(1, 1, 1, dtype=dtype)).double()
    values = [exact_log_normaliser(slope) for slope in slopes(dtype).flatten().tolist()]
    exact = torch.tensor(values, dtype=torch.float64)
    # The reference, too, is a difference of two numbers as large as the slope.
    size = slopes(dtype).double().abs().flatten()
    assert ((ours - exact).abs() <= 4 * epsilon * (1 + size)).all()


def test_continuous_bernoulli_agrees_with_torch_where_torch_is_exact() -> None:
    logits = torch.tensor([-10.0, -2.0, -0.5, 0.5, 2.0, 10.0]).double()[:, None]
    x = each_alone(torch.linspace(0, 1, 11).double())
    ours = ContinuousBernoulliImage(logits, (1, 1, 1))
    theirs = TorchContinuousBernoulli(logits=logits.flatten())
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x.flatten()[:, None]))
    torch.testing.assert_close(ours.mean.flatten(), theirs.mean)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_continuous_bernoulli_mean_and_gradient_are_exact_around_one_half(
    dtype: torch.dtype,
) -> None:
    logits = slopes(dtype).requires_grad_()
    p = ContinuousBernoulliImage(logits, (1, 1, 1))
    (gradient,) = torch.autograd.grad(p.log_prob(torch.zeros(1, 1, 1, dtype=dtype)).sum(), logits)
    # By quadrature of x exp(l x), Gauss and Legendre's with so many points that nothing is missing.
    nodes, weights = _gauss_legendre(400)
    s = logits.detach().double()
    tilted = torch.exp(s * nodes - (s * nodes).max(-1, keepdim=True).values) * weights
    mean = (tilted * nodes).sum(-1) / tilted.sum(-1)
    tolerance = max(8 * torch.finfo(dtype).eps, 5e-14)  # of the nodes
    assert ((p.mean.double().flatten() - mean).abs() < tolerance).all()
    assert ((-gradient.double().flatten() - mean).abs() < tolerance).all()


def _gauss_legendre(count: int) -> tuple[Tensor, Tensor]:
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(count)
    return torch.tensor((nodes + 1) / 2), torch.tensor(weights / 2)


def test_continuous_bernoulli_mean_has_a_gradient_everywhere() -> None:
    logits = slopes(torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda free: ContinuousBernoulliImage(free, (1, 1, 1)).mean, (logits,), atol=1e-7
    )


# -- normal of one scale ---------------------------------------------------------------------------


def normal_learned(scale: Any = "optimal", **changes: Any) -> NormalLearned:
    options: dict[str, Any] = {
        "start_at_mean": False, "initial_scale": 0.5, "min_log_scale": -6.0, "averaging": 0.1,
    }  # fmt: skip
    return NormalLearned(5, SHAPE, scale=scale, **{**options, **changes})


def test_optimal_scale_maximises_the_likelihood_of_a_batch() -> None:
    torch.manual_seed(0)
    likelihood = normal_learned().double()
    p, x = likelihood(torch.randn(2, 6, 5).double()), images(6, *SHAPE).double()
    p.log_prob(3 * images(6, *SHAPE).double())  # another batch before, which must not matter
    ours = p.log_prob(x)
    scales = torch.linspace(0.2, 1.5, 2001).double()
    others = [
        torch.distributions.Normal(p.mean, scale).log_prob(x).sum((-3, -2, -1)) for scale in scales
    ]
    totals = torch.stack([other.sum() for other in others])
    best = int(totals.argmax())
    assert 0 < best < 2000
    assert ours.sum() >= totals[best]
    torch.testing.assert_close(ours, others[best], rtol=1e-3, atol=1e-3)


def test_optimal_scale_in_evaluation_is_a_running_average_of_training() -> None:
    torch.manual_seed(0)
    likelihood = normal_learned(averaging=0.1).double()
    features = torch.randn(6, 5).double()
    errors = []
    for _ in range(40):
        x = torch.rand(6, *SHAPE).double()
        p = likelihood(features)
        p.log_prob(x)
        errors.append((x - p.mean).square().mean())
    # Ten batches in equal parts, and an exponential average from there.
    average = torch.stack(errors[:10]).mean()
    for error in errors[10:]:
        average = 0.9 * average + 0.1 * error
    likelihood.eval()
    q = likelihood(features)
    torch.testing.assert_close(q.variance.flatten()[0], average.detach())
    before = likelihood.state_dict()["average"].clone()
    white, black = torch.ones(6, *SHAPE).double(), torch.zeros(6, *SHAPE).double()
    expected = torch.distributions.Normal(q.mean, average.sqrt())
    for x in (white, black, 100 * white):
        torch.testing.assert_close(
            likelihood(features).log_prob(x), expected.log_prob(x).sum((1, 2, 3))
        )
    assert torch.equal(likelihood.state_dict()["average"], before)
    restored = normal_learned().double()
    restored.load_state_dict(likelihood.state_dict())
    assert torch.equal(restored.eval()(features).log_prob(white), q.log_prob(white))


def test_optimal_scale_before_any_training_is_the_initial_one() -> None:
    likelihood = normal_learned(initial_scale=0.25).eval()
    assert likelihood(torch.zeros(1, 5)).stddev.unique().tolist() == [0.25]


@pytest.mark.parametrize("scale", ["learned", "optimal"])
def test_scale_stays_above_its_limit_where_the_images_are_reconstructed_exactly(scale: str) -> None:
    torch.manual_seed(0)
    likelihood = normal_learned(scale, min_log_scale=-3.0)
    features = torch.randn(6, 5)
    if scale == "learned":
        nn.init.constant_(likelihood.log_scale, -30.0)
    p = likelihood(features)
    log_prob = p.log_prob(p.mean.detach())
    limit = 24 * (3.0 - 0.5 * math.log(2 * math.pi))
    torch.testing.assert_close(log_prob, torch.full((6,), limit), rtol=1e-4, atol=0)
    log_prob.sum().backward()
    assert gradient_of(head(likelihood).weight).isfinite().all()
    if scale == "learned":
        # However far below its limit, it can come back.
        assert gradient_of(likelihood.log_scale) != 0


def test_learned_scale_converges_to_the_root_mean_squared_error() -> None:
    torch.manual_seed(0)
    likelihood = normal_learned("learned")
    p, x = likelihood(torch.zeros(6, 5)), torch.rand(6, *SHAPE)
    error = float((x - p.mean.detach()).square().mean().sqrt())
    optimizer = torch.optim.Adam([likelihood.log_scale], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        (-likelihood(torch.zeros(6, 5)).log_prob(x).mean()).backward()
        optimizer.step()
    scale = likelihood(torch.zeros(1, 5)).stddev.detach().max()
    assert float(scale) == pytest.approx(error, rel=1e-3)


# -- Laplace ---------------------------------------------------------------------------------------


def test_laplace_at_a_scale_of_one_is_minus_the_summed_absolute_error() -> None:
    torch.manual_seed(0)
    p = Laplace(5, SHAPE, start_at_mean=False, scale=1.0)(torch.randn(6, 5))
    x = images(6, *SHAPE)
    absolute_error = (x - p.mean).abs().sum((1, 2, 3))
    torch.testing.assert_close(p.log_prob(x), -absolute_error - 24 * math.log(2))


# -- discretised logistic --------------------------------------------------------------------------


def logistic(scale: Any, **changes: Any) -> DiscretizedLogistic:
    options: dict[str, Any] = {
        "start_at_mean": False, "initial_scale": 0.1, "min_log_scale": -8.0,
    }  # fmt: skip
    return DiscretizedLogistic(1, (1, 1, 1), scale=scale, **{**options, **changes})


@pytest.mark.parametrize("scale", ["shared", "pixel"])
def test_logistic_probability_is_that_of_the_interval_of_a_grey_value(scale: str) -> None:
    likelihood = logistic(scale, min_log_scale=-30.0).double()
    with torch.no_grad():
        head(likelihood).weight.zero_()
        head(likelihood).bias.zero_()
        head(likelihood).bias[0] = 0.4
        log_prob = likelihood(torch.zeros(1).double()).log_prob(GREY.reshape(256, 1, 1, 1))
    borders = torch.sigmoid((GREY[:-1] + 0.5 / 255 - 0.4) / 0.1)
    ends = torch.tensor([0.0, 1.0]).double()
    expected = torch.cat([ends[:1], borders, ends[1:]]).diff()
    torch.testing.assert_close(log_prob.exp(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("location", [-1e4, 1e4])
def test_logistic_gradient_does_not_vanish_far_from_a_value(value: float, location: float) -> None:
    likelihood = logistic("shared")
    nn.init.constant_(head(likelihood).bias, location)
    log_prob = likelihood(torch.zeros(1)).log_prob(torch.full((1, 1, 1), value))
    log_prob.backward()
    (slope,) = gradient_of(head(likelihood).bias).tolist()
    # The log-probability falls by one nat for each scale; at the near end it is 0 already.
    reached = value == (0.0 if location < 0 else 1.0)
    assert slope == pytest.approx(0 if reached else -math.copysign(10, location), rel=1e-3)
    far = abs(location - value) / 0.1
    assert float(log_prob.detach()) == pytest.approx(0 if reached else -far, rel=1e-3)


def test_logistic_of_the_least_scale_can_be_certain_of_a_grey_value() -> None:
    likelihood = logistic("shared").double()
    nn.init.constant_(likelihood.log_scale, -100.0)
    nn.init.constant_(head(likelihood).weight, 0)
    nn.init.constant_(head(likelihood).bias, 51 / 255)
    p = likelihood(torch.zeros(1).double())
    log_prob = p.log_prob(torch.full((1, 1, 1), 0.2).double())
    log_prob.backward()
    assert -0.01 < float(log_prob.detach()) < 0
    assert all(gradient_of(free).isfinite().all() for free in likelihood.parameters())


# -- categorical -----------------------------------------------------------------------------------


def test_categorical_pixels_agree_with_torch_in_any_number_of_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    likelihood = Categorical(5, SHAPE, start_at_mean=False, width=3).double()
    features, x = torch.randn(2, 6, 5).double(), images(6, *SHAPE).double()
    numbers = head(likelihood)(features).unflatten(-1, (3, *SHAPE))
    logits = torch.einsum("...nchw,vn->...chwv", numbers, likelihood.weight) + likelihood.bias
    reference = TorchCategorical(logits=logits).log_prob((x * 255).round()).sum((-3, -2, -1))
    mean = (logits.softmax(-1) * GREY).sum(-1)
    for block in (1_000_000, 288, 7):
        monkeypatch.setattr(categorical, "_BLOCK", block)
        torch.testing.assert_close(likelihood(features).log_prob(x), reference)
        torch.testing.assert_close(likelihood(features).mean, mean)
    for _ in range(2):
        # Each sample lies where its image and pixel do.
        nn.init.zeros_(head(likelihood).weight)
        nn.init.zeros_(head(likelihood).bias)
        head(likelihood).bias.data[:24] = torch.linspace(-9, 9, 24)
        p = likelihood(features)
        spread = (p.sample(torch.Size((50,))).mean(0) - p.mean).abs()
        assert spread.max() < 0.15


def test_categorical_has_few_parameters_for_its_256_values() -> None:
    likelihood = likelihood_of("categorical", 400, (1, 28, 28))
    assert isinstance(likelihood, Categorical)
    own = likelihood.weight.numel() + likelihood.bias.numel()
    assert own == 16 * 256 + 256
    assert head(likelihood).weight.numel() == 400 * 16 * 784


# -- refusals and names of bounds ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "changes", "message"),
    [
        ("laplace", {"scale": 0.0}, "scale=0.0 is out of range"),
        ("normal_learned", {"initial_scale": -1.0}, "initial_scale=-1.0 is out of range"),
        ("normal_learned", {"initial_scale": 0.002}, "initial_scale=0.002 is out of range"),
        ("normal_learned", {"averaging": 0.0}, "averaging=0.0 is out of range"),
        ("normal_learned", {"averaging": 1.5}, "averaging=1.5 is out of range"),
        ("discretized_logistic", {"initial_scale": 0.0}, "initial_scale=0.0 is out of range"),
        ("categorical", {"width": 0}, "width=0 is out of range"),
    ],
)
def test_numbers_out_of_range_are_refused(
    variant: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"model.likelihood.{message}"):
        likelihood_of(variant, **changes)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("binarize", ["none", "threshold"])
def test_bound_is_named_after_the_likelihood_and_the_data(variant: str, binarize: str) -> None:
    model = tiny_vae()
    model.likelihood = likelihood_of(variant)
    data: Any = SimpleNamespace(protocol=SimpleNamespace(binarize=binarize))
    said = bound_name(data, model)
    if variant == "bernoulli":
        assert ("cross-entropy" in said) is (binarize == "none")
    else:
        assert ("256 grey values" in said) is (variant in OF_GREY_VALUES)
        assert ("log-density" in said) is (variant in OF_DENSITIES)


@pytest.mark.parametrize("variant", VARIANTS)
def test_log_probability_is_the_sum_over_the_pixels_and_not_their_mean(variant: str) -> None:
    @torch.no_grad()
    def of_equal_pixels(*shape: int) -> float:
        likelihood = likelihood_of(variant, image_shape=shape)
        for parameter in likelihood.parameters():
            nn.init.constant_(parameter, 0.3)
        x = torch.full((1, *shape), 102 / 255)
        return float(likelihood(torch.ones(1, 5)).log_prob(x))

    one = of_equal_pixels(1, 1, 1)
    assert one != 0
    assert of_equal_pixels(*SHAPE) == pytest.approx(math.prod(SHAPE) * one, rel=1e-4)
