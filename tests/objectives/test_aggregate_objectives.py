"""Objectives with the aggregate posterior: known answers, and sums written out."""

import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal

from linear_gaussian import grey_images
from tiny import tiny_vae
from vae_lightning.models import Latent, Trace
from vae_lightning.objectives.mmd import MMD, Kernel, squared_mmd
from vae_lightning.objectives.moment_matching import MomentMatching, covariance_over_images
from vae_lightning.objectives.total_correlation import TotalCorrelation


def normal(location: Tensor, scale: Tensor | float) -> Independent:
    return Independent(Normal(location, scale), 1)


def trace_of(mean: Tensor, scale: Tensor | float, num_samples: int = 1) -> Trace:
    """Latents of given posteriors (B, D) under a standard normal prior, and images of nothing."""
    posterior = normal(mean, scale)
    prior = normal(torch.zeros_like(mean[0]), 1.0)
    latent = Latent(posterior.rsample(torch.Size((num_samples,))), posterior, prior)
    pixels = torch.zeros(num_samples, len(mean), 1, 2, 3).to(mean)
    return Trace(pixels[0], (latent,), Independent(Normal(pixels, 1.0), 3))


def total_correlation_of(count: int, num_samples: int = 1, **weights: float) -> TotalCorrelation:
    objective = TotalCorrelation(
        num_samples, **{"alpha": 1.0, "beta": 1.0, "gamma": 1.0, **weights}
    )
    data: Any = SimpleNamespace(num_images={"train": count, "val": 1, "test": 1})
    objective.initialize_from(data)
    return objective


# -- total correlation ----------------------------------------------------------------------------


@pytest.mark.parametrize("total", [3, 26])
def test_parts_of_the_rate_are_the_sums_written_out(total: int) -> None:
    torch.manual_seed(0)
    mean, scale = torch.randn(3, 2).double(), torch.rand(3, 2).double() + 0.3
    trace = trace_of(mean, scale, num_samples=2)
    (latent,) = trace.latents
    sums = {"mutual_information": 0.0, "total_correlation": 0.0, "dimension_wise_kl": 0.0}

    def density(k: int, n: int, m: int, d: int) -> float:
        return Normal(mean[m, d], scale[m, d]).log_prob(latent.z[k, n, d]).exp().item()

    def weight(n: int, m: int) -> float:
        return 1 / total if n == m else (total - 1) / total / 2

    for k, n in itertools.product(range(2), range(3)):
        joint = sum(weight(n, m) * density(k, n, m, 0) * density(k, n, m, 1) for m in range(3))
        single = [sum(weight(n, m) * density(k, n, m, d) for m in range(3)) for d in range(2)]
        prior = latent.log_p[k, n].item()
        own = density(k, n, n, 0) * density(k, n, n, 1)
        sums["mutual_information"] += math.log(own / joint) / 6
        sums["total_correlation"] += math.log(joint / single[0] / single[1]) / 6
        sums["dimension_wise_kl"] += (math.log(single[0] * single[1]) - prior) / 6
    loss, parts = total_correlation_of(total, 2, alpha=2.0, beta=5.0, gamma=0.5)(trace, 0)
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(sums)
    expected = [2.0, 5.0, 0.5] @ torch.tensor(list(sums.values())).numpy()
    assert loss.item() == pytest.approx(trace.distortion.mean().item() + expected, rel=1e-6)


@pytest.mark.parametrize("total", [0, 8, 60_000])
def test_all_weights_at_one_give_the_elbo_of_a_sampled_rate(total: int) -> None:
    torch.manual_seed(0)
    trace = tiny_vae().double()(grey_images(), 2)
    loss, _ = total_correlation_of(total, 2)(trace, 0)
    torch.testing.assert_close(loss, -trace.log_weight.mean(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("total", [4, 1000])
def test_disjoint_posteriors_have_a_mutual_information_of_log_n(total: int) -> None:
    torch.manual_seed(0)
    mean = 1000 * torch.arange(4.0, dtype=torch.float64).unsqueeze(1).expand(4, 5)
    _, parts = total_correlation_of(total)(trace_of(mean, 0.1), 0)
    assert parts["mutual_information"].item() == pytest.approx(math.log(total))
    # All five dimensions repeat the first.
    assert parts["total_correlation"].item() == pytest.approx(4 * math.log(total))


def test_mutual_information_never_exceeds_log_n() -> None:
    torch.manual_seed(0)
    for spread in (0.1, 1.0, 10.0, 100.0):
        for total in (6, 50):
            trace = trace_of(spread * torch.randn(6, 4).double(), 0.5, num_samples=3)
            _, parts = total_correlation_of(total, 3)(trace, 0)
            assert parts["mutual_information"] <= math.log(total) + 1e-12


def test_posteriors_that_are_all_the_same_say_nothing_of_the_image() -> None:
    torch.manual_seed(0)
    _, parts = total_correlation_of(50)(trace_of(torch.ones(6, 3).double(), 0.5), 0)
    assert parts["mutual_information"].item() == pytest.approx(0, abs=1e-12)
    assert parts["total_correlation"].item() == pytest.approx(0, abs=1e-12)


def test_a_single_dimension_has_no_total_correlation() -> None:
    torch.manual_seed(0)
    _, parts = total_correlation_of(50)(trace_of(torch.randn(6, 1).double(), 0.5), 0)
    assert parts["total_correlation"].item() == pytest.approx(0, abs=1e-12)


def test_density_of_the_aggregate_is_unbiased_over_the_batches_there_can_be() -> None:
    torch.manual_seed(0)
    everything = torch.randn(6, 2).double()
    z = everything[0] + 0.3
    density = normal(everything, 0.8).log_prob(z).exp()  # (N,), under each image's posterior
    objective = total_correlation_of(6)
    estimates = []
    for others in itertools.combinations(range(1, 6), 2):
        weights = objective._log_weights(3, density).exp()[0]  # of the sample of image 0
        estimates.append(weights @ density[[0, *others]])
    torch.testing.assert_close(torch.stack(estimates).mean(), density.mean())


def test_number_of_training_images_is_kept_with_the_weights() -> None:
    fresh = TotalCorrelation(1, 1.0, 1.0, 1.0)
    fresh.load_state_dict(total_correlation_of(55_000).state_dict())
    assert fresh.num_images == 55_000


# -- maximum mean discrepancy ---------------------------------------------------------------------


def kernel_by_hand(a: Tensor, b: Tensor, kernel: Kernel, scale: float) -> float:
    square, width = ((a - b) ** 2).sum().item(), 2 * len(a) * scale
    return math.exp(-square / width) if kernel == "rbf" else width / (width + square)


@pytest.mark.parametrize("kernel", ["rbf", "inverse_multiquadratic"])
def test_squared_discrepancy_is_the_sums_over_pairs_written_out(kernel: Kernel) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(4, 3).double(), torch.randn(4, 3).double() + 1
    total = 0.0
    for scale in (0.3, 2.0):
        for i, j in itertools.product(range(4), range(4)):
            if i != j:
                total += kernel_by_hand(x[i], x[j], kernel, scale) / 12
                total += kernel_by_hand(y[i], y[j], kernel, scale) / 12
            total -= 2 * kernel_by_hand(x[i], y[j], kernel, scale) / 16
    batched = squared_mmd(torch.stack([x, y]), torch.stack([y, y]), kernel, [0.3, 2.0])
    assert batched[0].item() == pytest.approx(total)


@pytest.mark.parametrize("kernel", ["rbf", "inverse_multiquadratic"])
def test_squared_discrepancy_of_equal_distributions_is_zero_on_average(kernel: Kernel) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 20_000, 5, 2).double().unbind()
    estimates = squared_mmd(x, y, kernel, [0.5])
    standard_error = estimates.std() / math.sqrt(len(estimates))
    assert standard_error < 0.002
    assert estimates.mean().abs() < 4 * standard_error
    assert estimates.min() < 0


def test_squared_discrepancy_of_shifted_normals_is_the_closed_form() -> None:
    torch.manual_seed(0)
    shift, scale = torch.tensor([1.0, -0.5, 0.3]).double(), 0.4
    x, y = torch.randn(2, 20_000, 5, 3).double().unbind()
    estimates = squared_mmd(x, y + shift, "rbf", [scale])
    # The difference of two samples is normal with variance 2 around 0 or the shift.
    width = 2 * 3 * scale
    same = (1 + 4 / width) ** -1.5
    exact = 2 * same * (1 - math.exp(-shift.square().sum().item() / (width + 4)))
    standard_error = estimates.std() / math.sqrt(len(estimates))
    assert standard_error < 0.02 * exact
    assert (estimates.mean() - exact).abs() < 4 * standard_error


@pytest.mark.parametrize("kernel", ["rbf", "inverse_multiquadratic"])
def test_squared_discrepancy_has_a_gradient_where_samples_coincide(kernel: Kernel) -> None:
    x = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    squared_mmd(x, torch.zeros(4, 3).double(), kernel, [1.0]).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    # Towards the other samples.
    assert (x.grad > 0).all()


def test_weights_are_of_the_rate_and_the_discrepancy_from_the_prior() -> None:
    torch.manual_seed(0)
    trace = trace_of(torch.randn(6, 3).double() + 2, 0.5, num_samples=4)
    torch.manual_seed(1)
    drawn = trace.latents[0].prior.sample(torch.Size((4, 6)))
    torch.manual_seed(1)
    objective = MMD(4, 0.5, 7.0, "inverse_multiquadratic", [0.2, 1.0])
    loss, parts = objective(trace, 0)
    mmd = squared_mmd(trace.latents[0].z, drawn, "inverse_multiquadratic", [0.2, 1.0]).mean()
    torch.testing.assert_close(parts["mmd"], mmd)
    expected = trace.distortion.mean() + 0.5 * trace.rate.mean() + 7 * mmd
    torch.testing.assert_close(loss, expected)
    assert mmd > 0.5


def test_a_prior_that_differs_between_images_is_sampled_once_for_each() -> None:
    torch.manual_seed(0)
    base = trace_of(torch.randn(6, 3).double(), 0.5, num_samples=4)
    far = 100 * torch.arange(6.0).double().unsqueeze(1).expand(6, 3)
    posterior, prior = normal(far, 0.1), normal(far, 0.1)
    latent = Latent(posterior.rsample(torch.Size((4,))), posterior, prior)
    loss, parts = MMD(4, 0.0, 1.0, "rbf", [1.0])(Trace(base.x, (latent,), base.likelihood), 0)
    # Each sample is similar to one of the prior, and far from all others.
    assert parts["mmd"].item() == pytest.approx(-2 / 6, abs=0.01)
    assert loss.isfinite()


# -- moment matching ------------------------------------------------------------------------------


def penalty(trace: Trace, of: Any, diagonal: float, off_diagonal: float) -> float:
    loss, parts = MomentMatching(1, of, diagonal, off_diagonal)(trace, 0)
    assert (loss + trace.elbo.mean()).item() == pytest.approx(
        parts["moment_matching"].item(), abs=1e-9
    )
    return parts["moment_matching"].item()


def test_covariance_is_over_the_images() -> None:
    torch.manual_seed(0)
    means = torch.randn(50, 3).double()
    centred = means - means.mean(0)
    torch.testing.assert_close(covariance_over_images(means), centred.T @ centred / 50)
    assert covariance_over_images(means[:, :1]).shape == (1, 1)
    assert covariance_over_images(means[:1]).abs().max() == 0


def test_penalty_is_of_squared_differences_from_the_identity() -> None:
    # Corners of a rectangle, sheared: variances 4 and 1 + 0.25, covariance 1.
    corners = torch.tensor([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]]).double()
    corners[:, 1] += 0.25 * corners[:, 0]
    trace = trace_of(corners + 5, 0.5)
    assert penalty(trace, "means", 1.0, 0.0) == pytest.approx(3**2 + 0.25**2)
    assert penalty(trace, "means", 0.0, 1.0) == pytest.approx(2 * 1**2)
    # Each latent has a variance of 0.25 of its own on top.
    assert penalty(trace, "latents", 1.0, 0.0) == pytest.approx(3.25**2 + 0.5**2)
    assert penalty(trace, "latents", 0.0, 1.0) == pytest.approx(2 * 1**2)


def test_covariance_of_the_latents_includes_that_of_each_posterior() -> None:
    # Means that are all the same, so that only the posteriors' own covariance is left.
    matrices = torch.eye(2).double().repeat(4, 1, 1)
    matrices[:, 0, 1] = matrices[:, 1, 0] = torch.tensor([0.9, 0.1, 0.3, 0.7]).double()
    mean = torch.zeros(4, 2).double()
    posterior = MultivariateNormal(mean, matrices)
    prior = MultivariateNormal(mean[0], torch.eye(2).double())
    latent = Latent(posterior.rsample(torch.Size((1,))), posterior, prior)
    pixels = torch.zeros(1, 4, 1, 1, 1).double()
    trace = Trace(pixels[0], (latent,), Independent(Normal(pixels, 1.0), 3))
    _, parts = MomentMatching(1, "latents", 100.0, 10.0)(trace, 0)
    assert parts["moment_matching"].item() == pytest.approx(10 * 2 * 0.5**2)


def test_covariance_of_the_latents_is_that_of_their_samples() -> None:
    torch.manual_seed(0)
    mean = torch.randn(5, 2).double() @ torch.tensor([[1.0, 2.0], [0.0, 1.0]]).double()
    trace = trace_of(mean, torch.rand(5, 2).double() + 0.2, 100_000)
    sampled = covariance_over_images(trace.latents[0].z.flatten(0, 1))
    away = (sampled - torch.eye(2)).square()
    diagonal, off_diagonal = away.diagonal().sum().item(), (away.sum() - away.trace()).item()
    assert penalty(trace, "latents", 1.0, 0.0) == pytest.approx(diagonal, rel=0.03)
    assert penalty(trace, "latents", 0.0, 1.0) == pytest.approx(off_diagonal, rel=0.05)


def test_white_means_have_no_penalty() -> None:
    torch.manual_seed(0)
    means = torch.randn(40, 3).double()
    means = means - means.mean(0)
    white = means @ torch.linalg.inv(torch.linalg.cholesky(covariance_over_images(means))).T
    assert penalty(trace_of(white, 0.5), "means", 1.0, 1.0) == pytest.approx(0, abs=1e-12)
