"""GECO's multiplier, and the autoencoder's penalties."""

import math
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from linear_gaussian import SCALE, grey_images
from tiny import head, tiny_vae
from vae_lightning.distributions.likelihoods.normal import Normal as NormalLikelihood
from vae_lightning.distributions.posteriors.deterministic import Deterministic
from vae_lightning.models import VAE
from vae_lightning.objectives.autoencoder import Autoencoder, squared_jacobian
from vae_lightning.objectives.geco import GECO


def terms(rate: Any, distortion: Any) -> Any:
    """The part of a trace that GECO uses."""
    rate, distortion = (torch.as_tensor(value, dtype=torch.float64) for value in (rate, distortion))
    return SimpleNamespace(
        rate=rate.reshape(1, -1), distortion=distortion.reshape(1, -1), latents=(), auxiliary={}
    )


# -- GECO -----------------------------------------------------------------------------------------


def test_multiplier_follows_a_moving_average_of_the_constraint() -> None:
    objective = GECO(1, target=90.0, step_size=0.01, averaging=0.8).double()
    average = log_multiplier = 0.0
    for step, distortion in enumerate((100.0, 110.0, 60.0, 85.0)):
        constraint = distortion - 90
        average = constraint if step == 0 else 0.8 * average + 0.2 * constraint
        loss, _ = objective(terms([5.0, 7.0], [distortion - 1, distortion + 1]), step)
        assert loss.item() == pytest.approx(6 + math.exp(log_multiplier) * average)
        log_multiplier += 0.01 * average
        assert objective.log_multiplier.item() == pytest.approx(log_multiplier)


def test_gradient_is_of_the_batch_and_not_of_the_average() -> None:
    objective = GECO(1, target=0.0, step_size=0.0, averaging=0.9)
    objective(terms(1.0, 100.0), 0)
    distortion = torch.tensor([3.0, 5.0], dtype=torch.float64, requires_grad=True)
    objective.log_multiplier.fill_(math.log(2))
    objective(terms(1.0, distortion), 1)[0].backward()
    torch.testing.assert_close(distortion.grad, torch.ones(2).double())


def test_evaluation_leaves_the_multiplier_alone() -> None:
    objective = GECO(1, target=90.0, step_size=0.1, averaging=0.5).eval()
    loss, _ = objective(terms(5.0, 100.0), 0)
    assert loss.item() == pytest.approx(5 + 10)
    assert objective.log_multiplier == 0
    # The first training step finds no average either.
    objective.train()(terms(5.0, 80.0), 0)
    assert objective.constraint == -10


def test_multiplier_and_average_are_kept_with_the_weights() -> None:
    objective = GECO(1, target=90.0, step_size=0.01, averaging=0.8)
    for distortion in (100.0, 70.0):
        objective(terms(5.0, distortion), 0)
    resumed = GECO(1, target=90.0, step_size=0.01, averaging=0.8)
    resumed.load_state_dict(objective.state_dict())
    after = [each(terms(5.0, 95.0), 0)[0].item() for each in (objective, resumed)]
    assert after[0] == after[1]
    assert objective.log_multiplier == resumed.log_multiplier != 0


def test_a_target_out_of_reach_does_not_make_the_loss_overflow() -> None:
    objective = GECO(1, target=0.0, step_size=1.0, averaging=0.0)
    for _ in range(20):
        loss, _ = objective(terms(5.0, 500.0), 0)
    assert loss.isfinite()
    for _ in range(100):
        objective(terms(5.0, -500.0), 0)
    assert objective.log_multiplier.exp() > 0


def test_the_least_rate_with_the_required_distortion_is_found() -> None:
    # Rate a^2 and distortion (3 - a)^2: a distortion of 1 is reached at a = 2.
    point = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    objective = GECO(1, target=1.0, step_size=0.03, averaging=0.5).double()
    optimizer = torch.optim.SGD([point], lr=0.05)
    for step in range(1000):
        optimizer.zero_grad()
        objective(terms(point**2, (3 - point) ** 2), step)[0].backward()
        optimizer.step()
    assert point.item() == pytest.approx(2, abs=1e-3)
    # Where the slopes balance: 2 a = lambda * 2 (3 - a).
    assert objective.log_multiplier.exp().item() == pytest.approx(2, abs=1e-2)


# -- the regularised autoencoder ------------------------------------------------------------------


def linear_codes() -> VAE:
    """A linear autoencoder with normal pixels, in float64."""
    model = tiny_vae(hidden=[], likelihood=partial(NormalLikelihood, scale=SCALE))
    torch.manual_seed(0)
    model.posterior = Deterministic(16, 2)
    return model.double()


def loss_of(model: VAE, latent_weight: float, penalty: Any, decoder_weight: float) -> Tensor:
    torch.manual_seed(0)
    objective = Autoencoder(latent_weight, penalty, decoder_weight)
    return objective(model(grey_images(), objective.num_samples), 0)[0]


def test_the_penalty_of_a_code_is_half_its_squared_length() -> None:
    model, x = linear_codes(), grey_images()
    codes = head(model.posterior)(x.flatten(1))
    pixels = head(model.likelihood)(codes)
    lost = ((x.flatten(1) - pixels) ** 2).sum(1) / (2 * SCALE**2)
    lost = lost + 16 * math.log(SCALE * math.sqrt(2 * math.pi))
    expected = (lost + 0.3 * 0.5 * codes.square().sum(1)).mean()
    torch.testing.assert_close(loss_of(model, 0.3, "none", 5.0), expected)


def test_with_the_priors_weight_the_loss_is_the_joint_density_up_to_a_constant() -> None:
    model = linear_codes()
    trace = model(grey_images(), 1)
    constant = math.log(2 * math.pi)  # of a standard normal in two dimensions
    torch.testing.assert_close(loss_of(model, 1.0, "none", 0.0), -trace.elbo.mean() - constant)


def test_penalty_estimates_the_squared_jacobian_without_bias_and_reaches_the_decoder() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    z = torch.randn(20_000, 2, 3, dtype=torch.float64, requires_grad=True)
    # The slope of the tangent differs between codes.
    images = (z @ weight.T).tanh()
    slopes = 1 - images.detach() ** 2  # (K, B, 6)
    exact = (slopes.square() @ weight.detach().square()).sum(-1)
    estimate = squared_jacobian(images.unflatten(-1, (1, 2, 3)), z)
    assert estimate.shape == (20_000, 2)
    difference = estimate.detach() - exact
    standard_error = difference.std() / math.sqrt(difference.numel())
    assert standard_error < 0.01 * exact.mean()
    assert difference.mean().abs() < 4 * standard_error

    linear = squared_jacobian((z @ weight.T).unflatten(-1, (1, 2, 3)), z).mean()
    (gradient,) = torch.autograd.grad(linear, weight)
    torch.testing.assert_close(gradient, 2 * weight.detach(), rtol=0, atol=0.15)


def test_penalty_has_its_weight_and_is_omitted_without_gradients() -> None:
    model = linear_codes()
    without = loss_of(model, 0.3, "gradient", 0.0)
    single, double = (loss_of(model, 0.3, "gradient", weight) - without for weight in (1.0, 2.0))
    assert single > 0.1
    torch.testing.assert_close(double, 2 * single)
    with torch.no_grad():
        torch.testing.assert_close(loss_of(model, 0.3, "gradient", 1.0), without)
