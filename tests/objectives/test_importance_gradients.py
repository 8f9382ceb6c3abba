"""Gradient estimators of the importance-weighted bound, and combinations of bounds."""

import math
from typing import Any

import pytest
import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Independent, Normal

from linear_gaussian import grey_images, linear_gaussian, with_wrong_posterior
from tiny import head, tiny_vae
from vae_lightning.distributions.posteriors.deterministic import Deterministic
from vae_lightning.distributions.sampling import RsampleAndLogProb
from vae_lightning.models import VAE, Latent, Trace
from vae_lightning.objectives.importance_weighted import ImportanceWeighted
from vae_lightning.objectives.schedules import Constant, Jump, Linear, Schedule

SHAPE = (1, 2, 2)
COPIES = 20
PLAIN = {
    "gradient": "standard",
    "groups": 1,
    "encoder_groups": None,
    "elbo_weight": 0.0,
    "schedule": Constant(),
}


def objective(num_samples: int, **options: Any) -> ImportanceWeighted:
    return ImportanceWeighted(num_samples, **{**PLAIN, **options})


def trainable(model: VAE) -> VAE:
    return model.requires_grad_(True)


def one_step(
    model: VAE, x: Tensor, num_samples: int, seed: int = 0, **options: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, and its gradients for the encoder and for the decoder, each flat."""
    torch.manual_seed(seed)
    loss, _ = objective(num_samples, **options)(model(x, num_samples), 0)
    parts = [tuple(head(part).parameters()) for part in (model.posterior, model.likelihood)]
    gradients = torch.autograd.grad(loss, [*parts[0], *parts[1]])
    flat = [gradient.flatten() for gradient in gradients]
    return loss.detach(), torch.cat(flat[:2]), torch.cat(flat[2:])


def encoder_gradients(model: VAE, repeats: int, num_samples: int, **options: Any) -> Tensor:
    """Independent estimates for one batch, (repeats, P)."""
    x = grey_images(SHAPE).repeat(COPIES, 1, 1, 1)
    return torch.stack(
        [one_step(model, x, num_samples, seed, **options)[1] for seed in range(repeats)]
    )


def path_gradient(model: VAE, x: Tensor, coefficients: Any, num_samples: int) -> Tensor:
    """The encoder's gradient through the samples alone, by a posterior cut off from its own."""
    torch.manual_seed(0)
    trace = model(x, num_samples)
    (latent,) = trace.latents
    fixed = Normal(latent.posterior.mean.detach(), latent.posterior.stddev.detach())
    log_weight = trace.log_likelihood + latent.log_p - fixed.log_prob(latent.z).sum(-1)
    loss = -(coefficients(log_weight.detach()) * log_weight).sum(0).mean()
    gradients = torch.autograd.grad(loss, list(head(model.posterior).parameters()))
    return torch.cat([gradient.flatten() for gradient in gradients])


def squared(log_weight: Tensor) -> Tensor:
    return log_weight.softmax(0) ** 2


# -- the estimators -------------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", ["dreg", "sticking_the_landing"])
@pytest.mark.parametrize("options", [{}, {"groups": 2}, {"elbo_weight": 0.3, "encoder_groups": 3}])
def test_value_and_gradient_of_the_decoder_do_not_depend_on_the_encoders_estimator(
    gradient: str, options: dict[str, Any]
) -> None:
    model, x = trainable(with_wrong_posterior(SHAPE)), grey_images(SHAPE)
    bound, _, decoder = one_step(model, x, 6, **{**options, "encoder_groups": None})
    loss, _, ours = one_step(model, x, 6, gradient=gradient, **options)
    torch.testing.assert_close(loss, bound, rtol=1e-12, atol=0)
    torch.testing.assert_close(ours, decoder, rtol=1e-10, atol=1e-12)


def test_doubly_reparameterised_gradient_weighs_the_path_by_the_squares_of_the_weights() -> None:
    model, x = trainable(with_wrong_posterior(SHAPE)), grey_images(SHAPE)
    expected = path_gradient(model, x, squared, 5)
    torch.testing.assert_close(one_step(model, x, 5, gradient="dreg")[1], expected)


@pytest.mark.parametrize("gradient", ["dreg", "sticking_the_landing"])
def test_with_one_sample_the_gradient_is_the_path_gradient_of_the_elbo(gradient: str) -> None:
    model, x = trainable(with_wrong_posterior(SHAPE)), grey_images(SHAPE)
    expected = path_gradient(model, x, torch.ones_like, 1)
    torch.testing.assert_close(one_step(model, x, 1, gradient=gradient)[1], expected)


@pytest.mark.parametrize("gradient", ["dreg", "sticking_the_landing"])
def test_encoder_of_the_true_posterior_gets_no_noise(gradient: str) -> None:
    model, x = trainable(linear_gaussian(SHAPE)), grey_images(SHAPE)
    assert one_step(model, x, 4, gradient=gradient)[1].abs().max() < 1e-12
    assert one_step(model, x, 4)[1].abs().max() > 0.01


def test_doubly_reparameterised_gradient_agrees_with_the_standard_one_in_expectation() -> None:
    model = trainable(with_wrong_posterior(SHAPE))
    repeats = 100
    standard, dreg, landing = (
        encoder_gradients(model, repeats, 4, gradient=gradient)
        for gradient in ("standard", "dreg", "sticking_the_landing")
    )

    def deviations(ours: Tensor) -> Tensor:
        difference = ours - standard  # of the same samples
        return difference.mean(0).abs() / (difference.std(0) / math.sqrt(repeats))

    assert deviations(dreg).max() < 4
    # Enough repeats to detect a bias: this estimator has one.
    assert deviations(landing).max() > 8


def test_doubly_reparameterised_gradient_has_less_noise_and_less_still_with_more_samples() -> None:
    model = trainable(with_wrong_posterior(SHAPE))
    noise = {
        (gradient, count): encoder_gradients(model, 40, count, gradient=gradient).var(0).sum()
        for gradient in ("standard", "dreg")
        for count in (2, 32)
    }
    assert noise["dreg", 2] < 0.7 * noise["standard", 2]
    assert noise["dreg", 32] < 0.2 * noise["standard", 32]
    assert noise["dreg", 32] < 0.2 * noise["dreg", 2]


class FromNoise(RsampleAndLogProb):
    """A normal distribution whose samples know their density, but not by way of themselves."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, normal: Distribution) -> None:
        self.normal = normal
        super().__init__(normal.batch_shape, normal.event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.normal.mean

    @property
    def stddev(self) -> Tensor:
        return self.normal.stddev

    def rsample_and_log_prob(self, sample_shape: Size) -> tuple[Tensor, Tensor]:
        noise = torch.randn(*sample_shape, *self.mean.shape, dtype=self.mean.dtype)
        log_prob = Normal(0.0, 1.0).log_prob(noise) - self.stddev.log()
        return self.mean + self.stddev * noise, log_prob.sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.normal.log_prob(value)


def test_a_density_returned_with_the_sample_changes_no_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x = trainable(with_wrong_posterior(SHAPE)), grey_images(SHAPE)
    encode = model.infer_posterior
    monkeypatch.setattr(model, "infer_posterior", lambda *args: FromNoise(encode(*args)))
    assert model(x, 1).latents[0].drawn_log_q is not None
    expected = path_gradient(model, x, squared, 5)
    torch.testing.assert_close(one_step(model, x, 5, gradient="dreg")[1], expected)


def test_in_validation_the_value_is_the_same_without_gradients() -> None:
    model, x = trainable(with_wrong_posterior(SHAPE)), grey_images(SHAPE)
    torch.manual_seed(0)
    with torch.no_grad():
        loss, _ = objective(4, gradient="dreg")(model(x, 4), 0)
    torch.testing.assert_close(loss, one_step(model, x, 4)[0], rtol=1e-12, atol=0)


# -- bounds of several groups ---------------------------------------------------------------------


def test_groups_are_bounds_of_fewer_samples_averaged() -> None:
    model, x = trainable(with_wrong_posterior(SHAPE)), grey_images(SHAPE)
    torch.manual_seed(0)
    rows = model(x, 6).log_weight.exp().tolist()  # (K, B)
    total = 0.0
    for image in range(3):
        for group in (rows[:3], rows[3:]):
            total += math.log(sum(row[image] for row in group) / 3)
    loss = one_step(model, x, 6, groups=2)[0]
    assert loss.item() == pytest.approx(-total / 6, rel=1e-12)


@pytest.mark.parametrize("options", [{"groups": 5}, {"elbo_weight": 1.0}])
@pytest.mark.parametrize("gradient", ["standard", "dreg"])
def test_groups_of_one_sample_and_a_full_weight_of_the_elbo_are_the_elbo(
    options: dict[str, Any], gradient: str
) -> None:
    model, x = trainable(with_wrong_posterior(SHAPE)), grey_images(SHAPE)
    torch.manual_seed(0)
    elbo = model(x, 5).log_weight.mean()
    parameters = list(head(model.posterior).parameters())
    expected = torch.cat([part.flatten() for part in torch.autograd.grad(-elbo, parameters)])
    if gradient == "dreg":
        expected = path_gradient(model, x, lambda weights: torch.full_like(weights, 1 / 5), 5)
    loss, encoder, _ = one_step(model, x, 5, gradient=gradient, **options)
    torch.testing.assert_close(loss, -elbo.detach())
    torch.testing.assert_close(encoder, expected)


@pytest.mark.parametrize("gradient", ["standard", "dreg", "sticking_the_landing"])
def test_weight_of_the_elbo_mixes_two_bounds_and_their_gradients(gradient: str) -> None:
    model, x = trainable(with_wrong_posterior(SHAPE)), grey_images(SHAPE)
    both, elbo, tight = (
        one_step(model, x, 5, gradient=gradient, elbo_weight=weight) for weight in (0.3, 1.0, 0.0)
    )
    for mixed, first, second in zip(both, elbo, tight, strict=True):
        torch.testing.assert_close(mixed, 0.3 * first + 0.7 * second)


@pytest.mark.parametrize("gradient", ["standard", "dreg"])
@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_encoder_learns_from_its_own_groups_and_the_decoder_from_the_bound(
    gradient: str, weight: float
) -> None:
    model, x = trainable(with_wrong_posterior(SHAPE)), grey_images(SHAPE)
    options: dict[str, Any] = {"gradient": gradient, "elbo_weight": weight}
    loss, encoder, decoder = one_step(model, x, 6, encoder_groups=3, **options)
    tight = one_step(model, x, 6, **options)
    loose = one_step(model, x, 6, groups=3, **options)
    torch.testing.assert_close(loss, tight[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(decoder, tight[2])
    torch.testing.assert_close(encoder, loose[1])
    assert (tight[1] - loose[1]).abs().max() > 0.01


def test_encoder_groups_learn_from_samples_of_zero_weight_in_the_bound() -> None:
    model = with_wrong_posterior(SHAPE)
    head(model.posterior).bias.add_(torch.tensor([0.0, 0.0, 5.0, 5.0]))
    model, x = trainable(model.float()), grey_images(SHAPE, torch.float32)
    torch.manual_seed(0)
    coefficients = model(x, 6).log_weight.softmax(0)
    assert (coefficients == 0).any()  # in single precision
    encoder = one_step(model, x, 6, encoder_groups=6)[1]
    torch.testing.assert_close(encoder, one_step(model, x, 6, groups=6)[1], rtol=1e-4, atol=1e-4)


# -- fewer samples at first -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "options", "expected"),
    [
        (Constant(), {}, [12, 12, 12]),
        (Jump(2, 0.25), {}, [3, 3, 12]),
        (Jump(2, 0.0), {}, [1, 1, 12]),
        (Jump(2, 0.0), {"groups": 2, "encoder_groups": 3}, [6, 6, 12]),
        (Linear(4), {}, [1, 3, 6]),
        (Linear(4), {"groups": 4}, [4, 4, 8]),
    ],
)
def test_the_schedule_sets_the_number_of_samples_of_a_step(
    schedule: Schedule, options: dict[str, Any], expected: list[int]
) -> None:
    scheduled = objective(12, schedule=schedule, **options)
    assert [scheduled.samples_at(step) for step in range(3)] == expected
    assert scheduled.num_samples == 12


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"groups": 2, "encoder_groups": 1},
        {"gradient": "dreg", "groups": 2, "elbo_weight": 0.3},
    ],
)
def test_a_step_with_fewer_samples_uses_the_bound_of_these_samples(options: dict[str, Any]) -> None:
    x = grey_images(SHAPE)
    results = []
    for bound in (objective(12, **options, schedule=Jump(9, 1 / 3)), objective(4, **options)):
        model = trainable(with_wrong_posterior(SHAPE))
        torch.manual_seed(0)
        loss, _ = bound(model(x, bound.samples_at(0)), 0)
        loss.backward()
        results.append([loss, *[parameter.grad for parameter in model.parameters()]])
    torch.testing.assert_close(*results, rtol=0, atol=0)


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 4}, "groups=4 must divide num_samples=6"),
        ({"groups": 0}, "groups=0 is out of range"),
        ({"encoder_groups": 5}, "encoder_groups=5 must divide num_samples=6"),
        ({"elbo_weight": 1.5}, "elbo_weight=1.5 is out of range"),
        ({"elbo_weight": float("nan")}, "elbo_weight=nan is out of range"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        objective(6, **options)


def test_two_layers_are_refused_where_a_gradient_would_be_scaled_twice() -> None:
    trace = linear_gaussian(SHAPE)(grey_images(SHAPE), 2)
    two = Trace(trace.x, [*trace.latents, *trace.latents], trace.likelihood)
    with pytest.raises(ValueError, match="gradient=dreg is defined for one stochastic layer"):
        objective(2, gradient="dreg")(two, 0)
    objective(2)(two, 0)


def test_losses_of_the_model_are_refused_where_their_gradient_would_be_scaled() -> None:
    trace = linear_gaussian(SHAPE)(grey_images(SHAPE), 2)
    extra = Trace(trace.x, trace.latents, trace.likelihood, {"commitment": torch.ones(3)})
    with pytest.raises(
        ValueError, match=r"auxiliary losses of the model \(commitment\): choose objective.gradient"
    ):
        objective(2, encoder_groups=2)(extra, 0)
    objective(2)(extra, 0)


def test_deterministic_codes_are_refused() -> None:
    model = tiny_vae()
    model.posterior = Deterministic(8, 2)
    with pytest.raises(ValueError, match="or objective=autoencoder"):
        objective(2)(model(grey_images(dtype=torch.float32), 2), 0)


def test_latents_may_have_any_event_shape() -> None:
    torch.manual_seed(0)
    location = torch.zeros(3, 2, 4, requires_grad=True)
    posterior = Independent(Normal(location, 1.0), 2)
    z = posterior.rsample(Size((5,)))
    likelihood = Independent(Normal(z.sum((-2, -1), keepdim=True).unsqueeze(-1), 1.0), 3)
    prior = Independent(Normal(torch.ones(2, 4), 1.0), 2)
    trace = Trace(torch.zeros(3, 1, 1, 1), (Latent(z, posterior, prior),), likelihood)
    loss, _ = objective(5, gradient="dreg")(trace, 0)
    loss.backward()
    assert location.grad is not None
    assert (location.grad != 0).all()
