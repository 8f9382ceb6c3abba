"""The importance-weighted objective: its value, its gradient, and common mistakes."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from linear_gaussian import grey_images, linear_gaussian, log_evidence, with_wrong_posterior
from vae_lightning.models import VAE
from vae_lightning.objectives import ImportanceWeighted
from vae_lightning.objectives.schedules import Constant

SHAPE = (1, 2, 3)
importance_weighted = partial(
    ImportanceWeighted,
    gradient="standard",
    groups=1,
    encoder_groups=None,
    elbo_weight=0.0,
    schedule=Constant(),
)


def loss_of(model: VAE, x: Tensor, num_samples: int) -> Tensor:
    """With the same noise at each call."""
    torch.manual_seed(0)
    loss, parts = importance_weighted(num_samples)(model(x, num_samples), 0)
    assert parts == {}
    return loss


@pytest.mark.parametrize("num_samples", [1, 2, 5])
def test_loss_is_minus_the_log_of_the_mean_weight_over_the_samples_of_each_image(
    num_samples: int,
) -> None:
    model, x = with_wrong_posterior(SHAPE), grey_images(SHAPE)
    torch.manual_seed(0)
    weights = model(x, num_samples).log_weight.exp()  # (K, B), and B is 3
    by_hand = [-math.log(sum(column) / num_samples) for column in weights.T.tolist()]
    assert loss_of(model, x, num_samples).item() == pytest.approx(sum(by_hand) / 3, abs=1e-12)


def test_loss_of_the_true_posterior_is_minus_the_evidence() -> None:
    model, x = linear_gaussian(SHAPE, correlated=True), grey_images(SHAPE)
    expected = -log_evidence(model, x).mean()
    torch.testing.assert_close(loss_of(model, x, 4), expected, rtol=0, atol=1e-10)


def test_loss_falls_with_more_samples_but_never_below_minus_the_evidence() -> None:
    model = with_wrong_posterior(SHAPE)
    x = grey_images(SHAPE).repeat(2000, 1, 1, 1)
    losses = [loss_of(model, x, k).item() for k in (1, 5, 50)]
    evidence = -log_evidence(model, x).mean().item()
    # Gaps of 2.0, 0.2 and 0.02 nats; means over 6,000 images are good to 0.02, 0.01, 0.002.
    assert losses[0] > losses[1] + 0.5 > losses[2] + 0.5
    assert losses[2] > evidence


@pytest.mark.parametrize("num_samples", [1, 5])
def test_gradient_agrees_with_a_numerical_one(num_samples: int) -> None:
    model, x = with_wrong_posterior(SHAPE).requires_grad_(), grey_images(SHAPE)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss_of(model, x, num_samples), parameters)
    step = 1e-6
    for parameter, gradient in zip(parameters, gradients, strict=True):
        for index in range(0, parameter.numel(), 3):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter.view(-1)[index] += sign * step
                    values.append(loss_of(model, x, num_samples).item())
                    parameter.view(-1)[index] -= sign * step
            numerical = (values[0] - values[1]) / (2 * step)
            assert gradient.reshape(-1)[index].item() == pytest.approx(numerical, abs=1e-7)


def test_the_best_sample_of_each_image_weighs_most_in_the_gradient() -> None:
    class Weights:
        auxiliary: dict[str, Tensor] = {}  # noqa: RUF012
        latents = ()

        def __init__(self, log_weight: Tensor) -> None:
            self.log_weight = log_weight

    log_weight = torch.tensor([[0.0, -3.0], [-1.0, 0.0], [-2.0, -1.0]], requires_grad=True)
    loss, _ = importance_weighted(3)(Weights(log_weight), 0)
    loss.backward()
    assert log_weight.grad is not None
    normalised = log_weight.detach().exp() / log_weight.detach().exp().sum(0)
    torch.testing.assert_close(log_weight.grad, -normalised / 2)


@pytest.mark.parametrize("num_samples", [0, -1])
def test_a_number_of_samples_below_one_is_refused(num_samples: int) -> None:
    with pytest.raises(ValueError, match=f"^num_samples={num_samples} is out of range"):
        importance_weighted(num_samples)
