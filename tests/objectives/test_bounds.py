"""The bounds against a model whose evidence is known exactly, and against sums written out."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal
from torch.nn import functional as F

from linear_gaussian import (
    SCALE,
    SHAPES,
    Shape,
    grey_images,
    linear_gaussian,
    log_evidence,
    with_wrong_posterior,
)
from tiny import head, tiny_vae
from vae_lightning.distributions.likelihoods.normal import Normal as NormalLikelihood
from vae_lightning.distributions.monte_carlo import MonteCarloKL
from vae_lightning.models import VAE, Latent, Trace
from vae_lightning.objectives import ELBO
from vae_lightning.objectives.schedules import Constant


def exact_trace(model: VAE, x: Tensor) -> Trace:
    """A trace whose mean over K is no estimate but the expectation itself.

    Four points that have the posterior's mean and covariance stand for its samples: enough for a
    log-likelihood that is quadratic in z.
    """
    posterior = model.encode(x)
    spread = math.sqrt(2) * torch.diag_embed(posterior.stddev).transpose(0, 1)  # (D, B, D)
    z = posterior.mean + torch.cat([spread, -spread])  # (2 D, B, D)
    return Trace(x, (Latent(z, posterior, model.prior_distribution()),), model.decode(z))


def importance_bound(log_weight: Tensor, k: int) -> Tensor:
    """IWAE's bound, (B,): the mean over groups of K of the log of the mean weight."""
    groups = log_weight.unflatten(0, (-1, k))  # (N / K, K, B)
    return (groups.logsumexp(1) - math.log(k)).mean(0)


# -- the evidence is known ------------------------------------------------------------------------


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_importance_weight_of_the_true_posterior_is_the_evidence(
    shape: Shape, correlated: bool
) -> None:
    torch.manual_seed(0)
    model, x = linear_gaussian(shape, correlated), grey_images(shape)
    log_weight = model(x, 7).log_weight
    assert log_weight.shape == (7, 3)
    # p(x, z) / q(z|x) is p(x) whatever z is; float64 leaves rounding alone.
    torch.testing.assert_close(log_weight, log_evidence(model, x).expand(7, 3), rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_elbo_of_the_true_posterior_is_the_evidence(shape: Shape) -> None:
    model, x = linear_gaussian(shape), grey_images(shape)
    elbo = exact_trace(model, x).elbo.mean(0)
    torch.testing.assert_close(elbo, log_evidence(model, x), rtol=0, atol=1e-10)


def test_elbo_is_exact_for_each_sample_where_the_rate_has_no_closed_form() -> None:
    torch.manual_seed(0)
    model, x = linear_gaussian((1, 2, 3), correlated=True), grey_images((1, 2, 3))
    elbo = model(x, 5).elbo
    torch.testing.assert_close(elbo, log_evidence(model, x).expand(5, 3), rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_elbo_misses_the_evidence_by_the_divergence_from_the_true_posterior(shape: Shape) -> None:
    true, wrong, x = linear_gaussian(shape), with_wrong_posterior(shape), grey_images(shape)
    q, p = wrong.encode(x), true.encode(x)
    ratio, shift = q.variance / p.variance, (q.mean - p.mean) ** 2 / p.variance
    gap = 0.5 * (ratio + shift - 1 - ratio.log()).sum(-1)
    assert (gap > 0.5).all()
    elbo = exact_trace(wrong, x).elbo.mean(0)
    torch.testing.assert_close(elbo, log_evidence(wrong, x) - gap, rtol=0, atol=1e-10)


def test_iwae_bound_tightens_with_more_samples() -> None:
    torch.manual_seed(0)
    model, x = with_wrong_posterior((1, 2, 3)), grey_images((1, 2, 3))
    log_weight = model(x, 200_000).log_weight
    evidence = log_evidence(model, x)
    bounds = [exact_trace(model, x).elbo.mean(0)]
    bounds += [importance_bound(log_weight, k) for k in (5, 50)]
    for looser, tighter in zip(bounds, [*bounds[1:], evidence], strict=True):
        # The gaps are 2.0, 0.2 and 0.02 nats; the standard error of IWAE-50 is 0.003.
        assert (looser < tighter).all()
    # All samples in one group: what is left is the error of a mean of 200,000 weights.
    weights = (log_weight - evidence).exp()
    standard_error = weights.std(0) / math.sqrt(len(weights))
    assert (standard_error < 0.01).all()
    error = importance_bound(log_weight, len(log_weight)) - evidence
    assert (error.abs() < 5 * standard_error).all()


def test_iwae_bound_of_one_sample_is_the_elbo_with_a_sampled_rate() -> None:
    torch.manual_seed(0)
    trace = with_wrong_posterior((1, 2, 2))(grey_images((1, 2, 2)), 1000)
    sampled = trace.log_likelihood - (trace.latents[0].log_q - trace.latents[0].log_p)
    torch.testing.assert_close(importance_bound(trace.log_weight, 1), sampled.mean(0))


# -- sums, signs and scales -----------------------------------------------------------------------


def test_distortion_of_grey_pixels_is_their_summed_cross_entropy() -> None:
    torch.manual_seed(0)
    model, x = tiny_vae().double(), grey_images()
    trace = model(x, 2)
    cross_entropy = F.binary_cross_entropy(
        trace.likelihood.mean, x.expand(2, -1, -1, -1, -1), reduction="none"
    )
    torch.testing.assert_close(
        trace.distortion, cross_entropy.sum((-3, -2, -1)), rtol=1e-12, atol=0
    )


def test_loss_sums_over_pixels_and_latents_and_averages_over_images_and_samples() -> None:
    torch.manual_seed(0)
    model = tiny_vae(latent_dim=3, likelihood=partial(NormalLikelihood, scale=SCALE)).double()
    x = grey_images()
    trace = model(x, 2)
    loss, parts = ELBO(num_samples=2, beta=3.0, schedule=Constant(), free_bits=0.0)(trace, 0)

    mean, log_variance = head(model.posterior)(model.encoder(x)).chunk(2, -1)
    pixels = head(model.likelihood)(model.decoder(trace.latents[0].z))  # (K, B, 16)
    total = 0.0
    for k in range(2):
        for b in range(3):
            for pixel, value in zip(pixels[k, b].tolist(), x[b].flatten().tolist(), strict=True):
                total += (value - pixel) ** 2 / (2 * SCALE**2)
                total += math.log(SCALE * math.sqrt(2 * math.pi))
            for m, v in zip(mean[b].tolist(), log_variance[b].tolist(), strict=True):
                total += 3.0 * 0.5 * (m**2 + math.exp(v) - 1 - v)
    assert loss.item() == pytest.approx(total / 6, rel=1e-12)
    assert loss.shape == ()
    assert parts == {}


def test_beta_weighs_the_rate_in_the_loss_and_leaves_elbo_and_rate_alone() -> None:
    torch.manual_seed(0)
    trace = tiny_vae().double()(grey_images(), 1)
    elbo, rate = trace.elbo.clone(), trace.rate.clone()
    losses = {beta: ELBO(1, beta, Constant(), 0.0)(trace, 0)[0] for beta in (0.0, 1.0, 4.0)}
    torch.testing.assert_close(losses[0.0], trace.distortion.mean())
    torch.testing.assert_close(losses[1.0], -elbo.mean())
    torch.testing.assert_close(losses[4.0] - losses[1.0], 3 * rate.mean())
    assert rate.mean() > 0.01
    torch.testing.assert_close(trace.elbo, elbo, rtol=0, atol=0)
    torch.testing.assert_close(trace.rate, rate, rtol=0, atol=0)


def test_elbo_is_log_likelihood_minus_rate_and_distortion_its_cost() -> None:
    torch.manual_seed(0)
    trace = tiny_vae().double()(grey_images(), 3)
    torch.testing.assert_close(trace.elbo, trace.log_likelihood - trace.rate)
    torch.testing.assert_close(trace.elbo, -trace.distortion - trace.rate)
    # Binary cross-entropy costs, and a divergence is never negative.
    assert (trace.distortion > 0).all()
    assert (trace.rate > 0).all()


def test_auxiliary_losses_are_added_as_means_over_images_and_named() -> None:
    torch.manual_seed(0)
    plain = tiny_vae().double()(grey_images(), 1)
    auxiliary = {"commitment": torch.tensor([1.0, 2.0, 6.0]), "entropy": torch.full((3,), -0.5)}
    trace = Trace(plain.x, plain.latents, plain.likelihood, auxiliary)
    objective = ELBO(num_samples=1, beta=4.0, schedule=Constant(), free_bits=0.0)
    loss, parts = objective(trace, 0)
    # 3 - 0.5, whatever beta is.
    torch.testing.assert_close(loss - objective(plain, 0)[0], torch.tensor(2.5).double())
    assert {name: part.item() for name, part in parts.items()} == {
        "commitment": 3.0,
        "entropy": -0.5,
    }
    torch.testing.assert_close(trace.elbo, plain.elbo, rtol=0, atol=0)


def test_loss_of_several_samples_is_the_mean_of_their_losses() -> None:
    torch.manual_seed(0)
    model, x = tiny_vae().double(), grey_images()
    trace = model(x, 3)
    (latent,) = trace.latents
    assert (latent.z[0] != latent.z[1]).all()
    singles = []
    for k in range(3):
        z = latent.z[k : k + 1]
        one = Trace(x, (Latent(z, latent.posterior, latent.prior),), model.decode(z))
        singles.append(ELBO(1, 2.0, Constant(), 0.0)(one, 0)[0])
    loss, _ = ELBO(3, 2.0, Constant(), 0.0)(trace, 0)
    torch.testing.assert_close(loss, torch.stack(singles).mean())


def test_rates_and_weights_of_several_latents_add_up() -> None:
    torch.manual_seed(0)
    trace = tiny_vae().double()(grey_images(), 4)
    (first,) = trace.latents
    # A second layer whose prior differs between images, as in a hierarchy.
    q = MultivariateNormal(torch.randn(3, 5).double(), torch.eye(5).double())
    p = MonteCarloKL(Independent(Normal(torch.randn(3, 5).double(), 2.0), 1))
    second = Latent(q.rsample((4,)), q, p)
    both = Trace(trace.x, (first, second), trace.likelihood)
    extra = second.log_q - second.log_p
    torch.testing.assert_close(both.rate, trace.rate + extra)
    torch.testing.assert_close(both.elbo, trace.elbo - extra)
    torch.testing.assert_close(both.log_weight, trace.log_weight - extra)


@pytest.mark.parametrize(
    ("num_samples", "beta"), [(0, 1.0), (-1, 1.0), (1, -0.5), (1, float("nan"))]
)
def test_objective_refuses_values_out_of_range(num_samples: int, beta: float) -> None:
    with pytest.raises(ValueError, match="is out of range"):
        ELBO(num_samples=num_samples, beta=beta, schedule=Constant(), free_bits=0.0)
