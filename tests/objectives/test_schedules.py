"""Schedules step by step, and the ELBO that they and free bits weigh."""

import pytest
import torch
from torch.distributions import Independent, Normal

from linear_gaussian import grey_images, linear_gaussian, with_wrong_posterior
from option_grid import PAIRS, model_of
from vae_lightning.distributions.kl import rate_per_dimension
from vae_lightning.models import Latent, Trace
from vae_lightning.objectives.elbo import ELBO
from vae_lightning.objectives.schedules import Constant, Cyclical, Jump, Linear, Schedule

SHAPE = (1, 2, 2)


def test_constant_schedule_is_one_at_every_step() -> None:
    assert [Constant().at(step) for step in (0, 1, 10**9)] == [1.0, 1.0, 1.0]


def test_linear_schedule_rises_in_a_straight_line_and_stays() -> None:
    schedule = Linear(steps=4)
    assert [schedule.at(step) for step in range(7)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cyclical_schedule_rises_stays_and_starts_again() -> None:
    schedule = Cyclical(period=8, rising=0.5)
    cycle = [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0]
    assert [schedule.at(step) for step in range(20)] == [*cycle, *cycle, *cycle[:4]]


def test_cyclical_schedule_that_takes_no_time_to_rise_is_constant() -> None:
    assert [Cyclical(period=3, rising=0.0).at(step) for step in range(7)] == [1.0] * 7


def test_cyclical_schedule_may_rise_through_the_whole_cycle() -> None:
    schedule = Cyclical(period=4, rising=1.0)
    assert [schedule.at(step) for step in range(5)] == [0.0, 0.25, 0.5, 0.75, 0.0]


def test_jump_is_a_fraction_before_its_step_and_one_from_then_on() -> None:
    schedule = Jump(steps=3, before=0.2)
    assert [schedule.at(step) for step in range(5)] == [0.2, 0.2, 0.2, 1.0, 1.0]


@pytest.mark.parametrize(
    "schedule", [Constant(), Linear(7), Jump(7, 0.3), Cyclical(7, 0.3), Cyclical(3, 1.0)]
)
def test_schedules_stay_between_zero_and_one(schedule: Schedule) -> None:
    assert all(0 <= schedule.at(step) <= 1 for step in range(100))


def test_schedules_refuse_steps_below_one() -> None:
    with pytest.raises(ValueError, match=r"^steps=0 is out of range"):
        Linear(steps=0)
    with pytest.raises(ValueError, match=r"^period=0 is out of range"):
        Cyclical(period=0, rising=0.5)
    with pytest.raises(ValueError, match=r"^steps=0 is out of range"):
        Jump(steps=0, before=0.5)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_schedules_refuse_a_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(ValueError, match=f"^rising={fraction} is out of range"):
        Cyclical(period=10, rising=fraction)
    with pytest.raises(ValueError, match=f"^before={fraction} is out of range"):
        Jump(steps=10, before=fraction)


# -- in the ELBO ----------------------------------------------------------------------------------


@pytest.mark.parametrize("free_bits", [0.0, 1e-9])
@pytest.mark.parametrize(("step", "weight"), [(0, 0.0), (3, 1.5), (5, 2.0), (11, 0.5)])
def test_beta_is_multiplied_by_its_schedule(step: int, weight: float, free_bits: float) -> None:
    torch.manual_seed(0)
    trace = with_wrong_posterior(SHAPE)(grey_images(SHAPE), 2)
    loss, parts = ELBO(2, 2.0, Cyclical(period=10, rising=0.4), free_bits)(trace, step)
    torch.testing.assert_close(loss, (trace.distortion + weight * trace.rate).mean())
    assert parts == {}


def test_free_bits_apply_to_the_mean_rate_of_each_dimension() -> None:
    # Rates of half the squared mean: 0.5 and 4.5 nats in the first dimension, 0 and 0.02 in the
    # second, so that a clamp before the mean over images would give 3.75 and 2 nats.
    location = torch.tensor([[1.0, 0.0], [3.0, 0.2]], dtype=torch.float64, requires_grad=True)
    posterior = Independent(Normal(location, torch.ones(2).double()), 1)
    prior = Independent(Normal(torch.zeros(2).double(), torch.ones(2).double()), 1)
    latent = Latent(posterior.rsample((1,)), posterior, prior)
    x = torch.zeros(2, 1, 1, 1).double()
    trace = Trace(x, (latent,), Independent(Normal(torch.zeros(1, 2, 1, 1, 1).double(), 1.0), 3))
    loss, _ = ELBO(1, 1.0, Constant(), free_bits=2.0)(trace, 0)
    (loss - trace.distortion.mean()).backward()
    assert (loss - trace.distortion.mean()).item() == pytest.approx(2.5 + 2.0, rel=1e-12)
    # The dimension that is below its free nats is left alone.
    assert location.grad is not None
    torch.testing.assert_close(
        location.grad, torch.tensor([[0.5, 0.0], [1.5, 0.0]], dtype=torch.float64)
    )


def test_free_bits_of_a_posterior_without_independent_dimensions_are_those_of_the_layer() -> None:
    torch.manual_seed(0)
    trace = linear_gaussian(SHAPE, correlated=True)(grey_images(SHAPE), 2)
    rate = trace.rate.mean()
    for free_bits, charged in ((0.5 * rate.item(), rate), (9.0, torch.tensor(9.0).double())):
        loss, _ = ELBO(2, 1.0, Constant(), free_bits)(trace, 0)
        torch.testing.assert_close(loss, trace.distortion.mean() + charged)


@pytest.mark.parametrize(("posterior", "prior"), PAIRS)
def test_the_rate_has_a_term_for_each_dimension_of_normals_only(posterior: str, prior: str) -> None:
    # What the docstring and the configuration say of free_bits.
    if (posterior, prior) == ("deterministic", "vamp"):
        pytest.skip("refused")
    latent = model_of(posterior, prior, "bernoulli")(torch.rand(3, 1, 4, 4), 1).latents[0]
    split = rate_per_dimension(latent.posterior, latent.prior) is not None
    assert split == ((posterior, prior) == ("diagonal_normal", "standard_normal"))


def test_free_bits_of_several_layers_add_up() -> None:
    torch.manual_seed(0)
    trace = with_wrong_posterior(SHAPE)(grey_images(SHAPE), 2)
    two = Trace(trace.x, [*trace.latents, *trace.latents], trace.likelihood)
    objective = ELBO(2, 1.0, Constant(), free_bits=0.1)
    charged = objective(trace, 0)[0] - trace.distortion.mean()
    assert charged > 0.2
    torch.testing.assert_close(objective(two, 0)[0], trace.distortion.mean() + 2 * charged)


def test_without_free_bits_the_loss_is_minus_the_elbo() -> None:
    torch.manual_seed(0)
    trace = with_wrong_posterior(SHAPE)(grey_images(SHAPE), 2)
    torch.testing.assert_close(ELBO(2, 1.0, Constant(), 0.0)(trace, 0)[0], -trace.elbo.mean())


def test_negative_free_bits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^free_bits=-0.1 is out of range"):
        ELBO(1, 1.0, Constant(), free_bits=-0.1)
