"""Categorical latent variables: one-hot and relaxed, their densities, samples and gradients."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    OneHotCategorical,
    RelaxedOneHotCategorical,
    kl_divergence,
)

from tiny import composed_model
from vae_lightning.distributions.categorical import CategoricalVariables
from vae_lightning.distributions.kl import rate_per_dimension
from vae_lightning.distributions.posteriors.relaxed_categorical import RelaxedCategorical
from vae_lightning.distributions.priors.uniform_categorical import UniformCategorical
from vae_lightning.distributions.sampling import draw
from vae_lightning.errors import ConfigError
from vae_lightning.metrics.decomposition import rate_decomposition
from vae_lightning.metrics.latents import usage
from vae_lightning.models import VAE

SIMPLEX = ("model/posterior=relaxed_categorical", "model/prior=uniform_categorical")


def variables(
    temperature: float, *batch: int, categories: int = 3, scale: float = 1.0
) -> CategoricalVariables:
    """Two variables in double precision."""
    generator = torch.Generator().manual_seed(1)
    logits = scale * torch.randn(*batch, 2, categories, generator=generator).double()
    return CategoricalVariables(logits, temperature)


def all_one_hot(categories: int) -> Tensor:
    """Every pair of one-hot vectors, (C * C, 2 * C)."""
    eye = torch.eye(categories).double()
    pairs = torch.cartesian_prod(torch.arange(categories), torch.arange(categories))
    return eye[pairs].flatten(-2)


def small_model(*overrides: str) -> VAE:
    return composed_model(*SIMPLEX, "model.latent_dim=20", "model.encoder.hidden=[8]", *overrides)


# -- how low a temperature can be scored ----------------------------------------------------------


@pytest.mark.parametrize(("temperature", "right"), [(0.67, True), (0.5, True), (0.1, False)])
def test_float32_is_accurate_down_to_the_lowest_temperature_allowed(
    temperature: float, right: bool
) -> None:
    logits = torch.zeros(1, 10)
    logits[0, 0] = 12.0
    rates = []
    for dtype in (torch.float32, torch.float64):
        torch.manual_seed(0)
        q = CategoricalVariables(logits.to(dtype), temperature)
        z, log_q = q.rsample_and_log_prob(torch.Size((20_000,)))
        p = CategoricalVariables(torch.zeros(1, 10, dtype=dtype), temperature)
        rates.append((log_q - p.log_prob(z)).double().mean().item())
    assert (abs(rates[0] - rates[1]) < 0.1) is right
    posterior = RelaxedCategorical(4, 20, 10, temperature)
    if right:
        posterior.check_scored("anything")
    else:
        with pytest.raises(ValueError, match=r"choose model\.posterior\.temperature=0\.5"):
            posterior.check_scored("anything")


# -- one-hot --------------------------------------------------------------------------------------


def test_probabilities_of_all_one_hot_vectors_sum_to_one() -> None:
    q = variables(0.0, 4)
    log_prob = q.log_prob(all_one_hot(3).unsqueeze(1))  # (9, B)
    assert log_prob.shape == (9, 4)
    torch.testing.assert_close(log_prob.exp().sum(0), torch.ones(4).double())
    torch_own = Independent(OneHotCategorical(logits=q.log_probs), 1)
    expected = torch_own.log_prob(all_one_hot(3).unflatten(-1, (2, 3)).unsqueeze(1))
    torch.testing.assert_close(log_prob, expected)


@pytest.mark.parametrize("temperature", [0.0, 0.67])
def test_plain_samples_are_one_hot_with_the_probabilities_of_the_mean(temperature: float) -> None:
    torch.manual_seed(0)
    q = variables(temperature, 4)
    z = q.sample((40_000,))
    assert z.shape == (40_000, 4, 6)
    assert not z.requires_grad
    assert set(z.unique().tolist()) == {0.0, 1.0}
    assert (z.unflatten(-1, (2, 3)).sum(-1) == 1).all()
    error = (z.mean(0) - q.mean).abs()
    assert (error < 5 * (q.mean * (1 - q.mean) / len(z)).sqrt()).all()


def test_reparameterised_one_hot_samples_have_the_gradient_of_the_mean() -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, 2, 3).double().requires_grad_()
    q = CategoricalVariables(logits, 0.0)
    z, log_q = draw(q, 7)
    assert set(z.unique().tolist()) == {0.0, 1.0}
    weights = torch.randn(5, 6).double()
    (gradient,) = torch.autograd.grad((z * weights).sum(), logits, retain_graph=True)
    (expected,) = torch.autograd.grad(7 * (q.mean * weights).sum(), logits)
    torch.testing.assert_close(gradient, expected)
    assert log_q is not None
    torch.testing.assert_close(log_q, q.log_prob(z))


# -- relaxed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.3, 0.67, 2.0])
def test_concrete_density_on_the_simplex_integrates_to_one(temperature: float) -> None:
    steps = torch.linspace(-60, 60, 601, dtype=torch.float64)
    one, other = torch.meshgrid(steps, steps, indexing="ij")
    z = torch.softmax(torch.stack([one, other, torch.zeros_like(one)], -1), -1)
    logits = torch.tensor([[0.4, -1.0, 0.2]]).double()
    q = CategoricalVariables(logits, temperature)
    # By the logits, of which the weights' volume is their product.
    density = (q.log_prob(z) + z.log().sum(-1)).exp()
    mass = torch.trapezoid(torch.trapezoid(density, steps), steps)
    assert mass.item() == pytest.approx(1, rel=1e-5)


def test_concrete_density_of_variables_adds_up_to_that_of_torch() -> None:
    torch.manual_seed(0)
    q = variables(0.67, 4)
    z = q.rsample((5,))
    own = RelaxedOneHotCategorical(torch.tensor(0.67).double(), logits=q.log_probs)
    expected = own.log_prob(z.unflatten(-1, (2, 3))).sum(-1)
    torch.testing.assert_close(q.log_prob(z), expected)


def test_density_returned_with_a_sample_equals_its_log_prob() -> None:
    torch.manual_seed(0)
    for temperature in (0.1, 0.67, 5.0):
        q = variables(temperature, 4)
        z, log_q = q.rsample_and_log_prob(torch.Size((6,)))
        torch.testing.assert_close(log_q, q.log_prob(z))


def test_relaxed_samples_are_distributed_as_those_of_torch() -> None:
    torch.manual_seed(0)
    count = 20_000
    q = variables(0.67)
    ours = q.rsample((count,)).unflatten(-1, (2, 3))
    torch.testing.assert_close(ours.sum(-1), torch.ones(count, 2).double())
    own = RelaxedOneHotCategorical(torch.tensor(0.67).double(), logits=q.log_probs)
    theirs = own.sample((count,))
    for variable in range(2):
        for category in range(3):
            first, second = (part[:, variable, category] for part in (ours, theirs))
            both = torch.cat([first, second]).sort().values
            ranks = [torch.searchsorted(part.sort().values, both) for part in (first, second)]
            # Smirnov's statistic of two samples is above this once in a million.
            assert (ranks[0] - ranks[1]).abs().max() / count < 2.7 * math.sqrt(2 / count)


def test_importance_weights_of_relaxed_samples_have_a_mean_of_one() -> None:
    torch.manual_seed(0)
    q, p = variables(0.67, scale=0.7), CategoricalVariables(torch.zeros(2, 3).double(), 0.67)
    z, log_q = q.rsample_and_log_prob(torch.Size((100_000,)))
    weights = (p.log_prob(z) - log_q).exp()
    standard_error = (weights.std() / math.sqrt(len(weights))).item()
    assert standard_error < 0.01
    assert abs(weights.mean().item() - 1) < 4 * standard_error


def test_gradient_of_a_relaxed_expectation_agrees_with_differences() -> None:
    torch.manual_seed(0)
    logits = variables(0.67).log_probs.clone().requires_grad_()
    weights = torch.randn(6).double()

    def expectation(logits: Tensor) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            z, log_q = CategoricalVariables(logits, 0.67).rsample_and_log_prob(torch.Size((50,)))
        return (z @ weights).square().mean() + log_q.mean()

    assert torch.autograd.gradcheck(expectation, (logits,))


@pytest.mark.parametrize("temperature", [0.05, 0.67])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_densities_and_gradients_stay_finite_in_single_precision(
    temperature: float, scale: float
) -> None:
    torch.manual_seed(0)
    logits = (scale * torch.randn(50, 4, 10)).requires_grad_()
    q, p = (CategoricalVariables(part, temperature) for part in (logits, torch.zeros(4, 10)))
    z, log_q = draw(q, 20)
    assert log_q is not None
    log_weight = p.log_prob(z) - log_q
    assert log_weight.isfinite().all()
    assert q.log_prob(all_one_hot(10).float().repeat(1, 2).unsqueeze(1)).isfinite().all()
    log_weight.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


# -- the rate -------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, 0.67])
def test_rate_agrees_with_the_sum_over_all_one_hot_vectors(temperature: float) -> None:
    z = all_one_hot(3).unsqueeze(1)
    hard, uniform = variables(0.0, 4), torch.zeros(2, 3).double()
    log_q, log_p = hard.log_prob(z), CategoricalVariables(uniform, 0.0).log_prob(z)
    expected = (log_q.exp() * (log_q - log_p)).sum(0)
    assert (expected > 0.1).all()
    rate = kl_divergence(variables(temperature, 4), CategoricalVariables(uniform, temperature))
    torch.testing.assert_close(rate, expected)


def test_rate_agrees_with_its_estimate_from_one_hot_samples() -> None:
    torch.manual_seed(0)
    q, p = variables(0.0, 4), CategoricalVariables(torch.zeros(2, 3).double(), 0.0)
    z = q.sample((20_000,))
    estimate = q.log_prob(z) - p.log_prob(z)
    standard_error = estimate.std(0) / math.sqrt(len(estimate))
    assert ((estimate.mean(0) - kl_divergence(q, p)).abs() < 5 * standard_error).all()


def test_rate_of_variables_that_differ_in_categories_is_refused() -> None:
    q = CategoricalVariables(torch.zeros(2, 3), 0.0)
    with pytest.raises(ValueError, match="of 3 categories and the prior of 2: set"):
        kl_divergence(q, CategoricalVariables(torch.zeros(3, 2), 0.0))


# -- in a model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["rate", "log_weight"])
def test_every_parameter_gets_a_gradient(objective: str) -> None:
    torch.manual_seed(0)
    model = small_model()
    trace = model(torch.rand(4, 1, 28, 28), 3)
    loss = -trace.log_weight.logsumexp(0) if objective == "log_weight" else -trace.elbo
    loss.sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


def test_samples_are_relaxed_in_training_and_one_hot_in_evaluation() -> None:
    torch.manual_seed(0)
    model, x = small_model(), torch.rand(4, 1, 28, 28)
    z = model(x, 3).latents[0].z
    assert ((z > 0) & (z < 1)).all()
    (latent,) = model.eval()(x, 3).latents
    assert set(latent.z.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(latent.log_p, torch.full((3, 4), -2 * math.log(10)))
    model.train()
    assert ((model(x, 1).latents[0].z > 0) & (model(x, 1).latents[0].z < 1)).all()


@pytest.mark.parametrize("training", [False, True])
def test_plain_samples_of_the_prior_are_one_hot_in_training_too(training: bool) -> None:
    torch.manual_seed(0)
    model = small_model().train(training)
    z = model.prior_distribution().sample((50,))
    assert z.shape == (50, 20)
    assert set(z.unique().tolist()) == {0.0, 1.0}
    assert model.sample(3).shape == (3, 1, 28, 28)


def test_bounds_in_evaluation_are_those_of_the_discrete_model() -> None:
    torch.manual_seed(0)
    model = small_model(
        "model.latent_dim=6", "model.posterior.categories=3", "model.decoder.hidden=[8]"
    )
    model = model.double().eval()
    x = (torch.rand(2, 1, 28, 28).double() > 0.5).double()
    with torch.no_grad():
        # Uneven probabilities, so that samples have to be weighed.
        model.posterior.head.bias.add_(torch.randn(6).double())  # type: ignore[union-attr, operator]
        z = all_one_hot(3).unsqueeze(1).expand(-1, 2, -1)
        log_joint = model.decode(z).log_prob(x) + model.prior_distribution().log_prob(z)
        evidence = log_joint.logsumexp(0)  # (B,), over all nine
        log_q = model.encode(x).log_prob(z)
        exact_elbo = (log_q.exp() * (log_joint - log_q)).sum(0)
        trace = model(x, 4000)
    error = trace.elbo.mean(0) - exact_elbo
    assert (error.abs() < 5 * trace.elbo.std(0) / math.sqrt(4000)).all()
    bound = trace.log_weight.logsumexp(0) - math.log(4000)
    relative = (trace.log_weight - evidence).exp()
    assert (relative.std(0) > 0.01).all()
    error = bound - evidence
    assert (error.abs() < 5 * relative.std(0) / math.sqrt(4000)).all()


def test_usage_and_rate_decomposition_accept_categories() -> None:
    torch.manual_seed(0)
    model, x = small_model().eval(), torch.rand(12, 1, 28, 28)
    assert usage(model, x, None)["active_units"] in range(21)
    split = rate_decomposition(model, x, None, seed=0)
    total = split["mutual_information"] + split["marginal_kl"]
    assert total == pytest.approx(split["sampled_rate"])
    assert rate_per_dimension(model.encode(x), model.prior_distribution()) is None


def test_a_mixture_of_posteriors_can_be_a_prior() -> None:
    torch.manual_seed(0)
    weights = Categorical(logits=torch.zeros(4).double())
    mixture = MixtureSameFamily(weights, variables(0.0, 4), validate_args=False)
    assert set(mixture.sample((50,)).unique().tolist()) == {0.0, 1.0}
    assert mixture.log_prob(all_one_hot(3)).exp().sum().item() == pytest.approx(1)


def test_prior_takes_categories_and_temperature_from_the_posterior_and_has_no_state() -> None:
    model = small_model("model.posterior.categories=5", "model.posterior.temperature=0.3")
    prior = model.prior_distribution()
    assert isinstance(prior, CategoricalVariables)
    assert prior.variables == (4, 5)
    assert prior.temperature == 0.3
    assert model.prior.state_dict() == {}


@pytest.mark.parametrize("part", [UniformCategorical, lambda **key: RelaxedCategorical(4, **key)])
@pytest.mark.parametrize(
    ("latent_dim", "categories", "temperature", "message"),
    [
        (12, 10, 1.0, "^categories=10 does not divide latent_dim=12"),
        (12, 1, 1.0, "^categories=1 is out of range"),
        (12, 3, 0.0, "^temperature=0.0 is out of range"),
        (12, 3, math.inf, "^temperature=inf is out of range"),
    ],
)
def test_sizes_and_temperatures_out_of_range_are_refused(
    part: object, latent_dim: int, categories: int, temperature: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        part(latent_dim=latent_dim, categories=categories, temperature=temperature)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("option", "choice"),
    [
        ("model/posterior=relaxed_categorical", "model/prior=uniform_categorical"),
        ("model/prior=uniform_categorical", "model/prior=standard_normal"),
    ],
)
def test_a_prior_in_another_space_than_the_posterior_is_refused(option: str, choice: str) -> None:
    for latent_dim in (10, 30):
        with pytest.raises(ConfigError, match=f"choose .*{choice}"):
            composed_model(option, f"model.latent_dim={latent_dim}")


def test_the_experiment_has_twenty_variables_of_ten_categories() -> None:
    model = composed_model("experiment=categorical")
    posterior = model.encode(torch.rand(2, 1, 28, 28))
    assert isinstance(posterior, CategoricalVariables)
    assert posterior.variables == (20, 10)
    assert posterior.event_shape == (200,)
