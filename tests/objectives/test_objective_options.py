"""All objectives: neutral settings, options as configured, and refusals."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from linear_gaussian import grey_images, linear_gaussian, with_wrong_posterior
from option_grid import option as configuration
from tiny import composed_model, head, options, tiny_vae
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.config.compatibility import check_together
from vae_lightning.distributions.point_mass import PointMass
from vae_lightning.distributions.posteriors.deterministic import Deterministic
from vae_lightning.errors import ConfigError
from vae_lightning.metrics.bounds import has_bound
from vae_lightning.models import VAE, Latent, Trace
from vae_lightning.objectives.autoencoder import Autoencoder
from vae_lightning.objectives.capacity import Capacity
from vae_lightning.objectives.elbo import ELBO
from vae_lightning.objectives.geco import GECO
from vae_lightning.objectives.importance_weighted import ImportanceWeighted
from vae_lightning.objectives.mmd import MMD
from vae_lightning.objectives.moment_matching import MomentMatching
from vae_lightning.objectives.objective import Objective
from vae_lightning.objectives.schedules import Constant, Linear
from vae_lightning.objectives.total_correlation import TotalCorrelation

SHAPE = (1, 2, 2)
BOUND = ELBO(num_samples=2, beta=1.0, schedule=Constant(), free_bits=0.0)
ANALYTIC = {
    "capacity": Capacity(2, gamma=1.0, capacity=0.0, schedule=Constant()),
    "geco": GECO(2, target=0.0, step_size=0.0, averaging=0.9),
    "mmd": MMD(2, rate_weight=1.0, mmd_weight=0.0, kernel="rbf", scales=[1.0]),
    "moment_matching": MomentMatching(2, "means", diagonal_weight=0.0, off_diagonal_weight=0.0),
}
SAMPLED = {
    "importance_weighted": ImportanceWeighted(2, "standard", 2, None, 0.0, Constant()),
    "total_correlation": TotalCorrelation(2, alpha=1.0, beta=1.0, gamma=1.0),
}


def of_codes() -> VAE:
    """A tiny model with a deterministic posterior."""
    model = tiny_vae()
    model.posterior = Deterministic(8, 2)
    return model


def configured(option: str, *overrides: str) -> Objective:
    changes = dict(override.removeprefix("objective.").split("=") for override in overrides)
    node = configuration("objective", option)
    objective = instantiate({**node, **{key: float(v) for key, v in changes.items()}}, "objective")
    assert isinstance(objective, Objective)
    return objective


def gradients(loss: Tensor, model: VAE) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, [*head(model.posterior).parameters()], retain_graph=True)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", [*ANALYTIC, *SAMPLED])
def test_neutral_settings_are_the_elbo_in_value_and_gradient(name: str, training: bool) -> None:
    torch.manual_seed(0)
    model = with_wrong_posterior(SHAPE).requires_grad_()
    trace = model(grey_images(SHAPE), 2)
    objective = {**ANALYTIC, **SAMPLED}[name].train(training)
    expected = BOUND(trace, 3)[0] if name in ANALYTIC else -trace.log_weight.mean()
    for _ in range(2):  # GECO, alone, remembers
        loss, _ = objective(trace, 3)
        torch.testing.assert_close(loss, expected)
        for ours, theirs in zip(gradients(loss, model), gradients(expected, model), strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("option", options("objective"))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_every_option_gives_each_parameter_a_gradient(option: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = (of_codes() if option == "autoencoder" else tiny_vae()).to(dtype)
    objective = configured(option)
    loss, parts = objective(model(grey_images(dtype=dtype), objective.num_samples), 100)
    loss.backward()
    # Sums of terms in half precision are in float32.
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    assert loss.shape == ()
    assert all(part.shape == () and part.isfinite() for part in parts.values())
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert (parameter.grad != 0).any()


@pytest.mark.parametrize("option", options("objective"))
def test_every_option_is_finite_for_a_batch_of_one_image(option: str) -> None:
    torch.manual_seed(0)
    model = of_codes() if option == "autoencoder" else tiny_vae()
    objective = configured(option)
    loss, _ = objective(model(grey_images(dtype=torch.float32)[:1], objective.num_samples), 100)
    loss.backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("option", options("objective"))
def test_every_option_adds_the_auxiliary_losses_of_the_model(option: str) -> None:
    model = of_codes() if option == "autoencoder" else tiny_vae()
    objective = configured(option).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        trace = model(grey_images(dtype=torch.float32), objective.num_samples)
        extra = Trace(trace.x, trace.latents, trace.likelihood, {"commitment": torch.arange(3.0)})
        losses = []
        for each in (trace, extra):
            torch.manual_seed(1)
            losses.append(objective(each, 0)[0])
    torch.testing.assert_close(losses[1] - losses[0], torch.tensor(1.0), rtol=0, atol=1e-4)


WEIGHTED_OPTIONS = [
    {"gradient": gradient, "groups": groups, "encoder_groups": encoder, "elbo_weight": weight}
    for gradient in ("standard", "dreg", "sticking_the_landing")
    for groups, encoder, weight in ((1, None, 0.0), (1, 2, 0.0), (2, None, 0.5), (4, 1, 0.0))
]


def every_objective() -> list[Objective]:
    """Each option, and each gradient estimator of the importance-weighted bound."""
    weighted = [
        ImportanceWeighted(4, **options, schedule=Constant())  # type: ignore[arg-type]
        for options in WEIGHTED_OPTIONS
    ]
    return [*(configured(option) for option in options("objective")), *weighted]


@pytest.mark.parametrize("number", range(len(every_objective())))
def test_an_objective_leaves_a_trace_as_it_was(number: int) -> None:
    torch.manual_seed(0)
    objective = every_objective()[number].eval()  # GECO, alone, learns at each step of training
    of_points = isinstance(objective, Autoencoder)
    model = of_codes() if of_points else tiny_vae()
    trace = model(grey_images(dtype=torch.float32), objective.num_samples)
    parameters = [*model.parameters()]

    def gradient(loss: Tensor, of: list[Any] = parameters) -> list[Tensor]:
        found = torch.autograd.grad(loss, of, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for p, g in zip(of, found, strict=True)]

    def loss() -> Tensor:
        torch.manual_seed(1)  # of those that draw from the prior
        return objective(trace, 100)[0]

    before = gradient(trace.elbo.sum())
    expected = gradient(loss())
    first, second = loss(), loss()
    gradient(second, [*model.decoder.parameters()])  # does not come to the samples
    for again in (second, first, loss()):
        for ours, theirs in zip(gradient(again), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(gradient(trace.elbo.sum()), before, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not any(latent.z._backward_hooks for latent in trace.latents)


def test_two_scaled_losses_of_a_trace_are_not_differentiated_together() -> None:
    model = tiny_vae()
    trace = model(grey_images(dtype=torch.float32), 4)
    objective = ImportanceWeighted(4, "dreg", 1, None, 0.0, Constant())
    total = objective(trace, 0)[0] + objective(trace, 0)[0]
    with pytest.raises(RuntimeError, match="call backward for each"):
        total.backward()


# -- deterministic codes ---------------------------------------------------------------------------


def test_rate_of_a_code_is_minus_its_log_density_under_the_prior() -> None:
    torch.manual_seed(0)
    trace = of_codes()(grey_images(dtype=torch.float32), 2)
    (latent,) = trace.latents
    assert latent.z.shape == (2, 3, 2)
    torch.testing.assert_close(latent.z[1], latent.mean, rtol=0, atol=0)
    assert latent.log_q.shape == (2, 3)
    torch.testing.assert_close(trace.rate, -latent.prior.log_prob(latent.z))
    joint = trace.log_likelihood + latent.log_p
    torch.testing.assert_close(trace.elbo, joint)
    torch.testing.assert_close(trace.log_weight, joint)


def test_a_point_mass_has_its_location_as_mean_mode_and_samples_and_no_variance() -> None:
    point = PointMass(torch.arange(24.0).reshape(4, 2, 3))
    assert (point.batch_shape, point.event_shape) == ((4, 2), (3,))
    for value in (point.mean, point.mode, point.rsample(), point.sample()):
        torch.testing.assert_close(value, point.location, rtol=0, atol=0)
    assert not point.variance.any()
    assert not point.stddev.any()
    assert point.rsample(torch.Size((5, 6))).shape == (5, 6, 4, 2, 3)
    assert point.log_prob(torch.ones(5, 1, 2, 3)).shape == (5, 4, 2)


REFUSED = [name for name in options("objective") if name not in ("autoencoder", "mmd")]


@pytest.mark.parametrize(
    ("option", "overrides"),
    [*((name, []) for name in REFUSED), ("mmd", ["objective.rate_weight=0.5"])],
)
def test_deterministic_codes_are_refused_by_objectives_with_a_bound(
    option: str, overrides: list[str]
) -> None:
    with pytest.raises(ConfigError, match=r"no density.* or objective=autoencoder") as caught:
        check_together(of_codes(), configured(option, *overrides))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["autoencoder", "mmd"])
def test_deterministic_codes_are_accepted_by_objectives_without_a_bound(option: str) -> None:
    check_together(of_codes(), configured(option))


def test_autoencoder_refuses_a_posterior_with_noise() -> None:
    with pytest.raises(ConfigError, match="choose model/posterior=deterministic"):
        check_together(tiny_vae(), configured("autoencoder"))


def test_deterministic_codes_give_no_bound_on_the_evidence() -> None:
    with pytest.raises(ValueError, match="no bound"):
        of_codes().log_likelihood(grey_images(dtype=torch.float32), 2)


def test_the_refusal_of_several_deterministic_layers_offers_another_posterior_only() -> None:
    model = composed_model("model=hierarchical", "model/posterior=deterministic", "data.size=4")
    with pytest.raises(ConfigError, match=r"choose model/posterior=diagonal_normal$"):
        check_together(model, configured("elbo"))


# -- combinations that are refused -----------------------------------------------------------------

CATEGORIES = (
    "model/posterior=relaxed_categorical",
    "model/prior=uniform_categorical",
    "model.posterior.temperature=0.1",
)
CODEBOOK = ("model=vector_quantized", "data.size=28", "model.prior.layers=1")
WEIGHTED = "objective=importance_weighted"
DREG = (WEIGHTED, "objective.gradient=dreg")
SMALL = ("data.size=4", "paths.run_dir=unused")
# A command line and its error message. That the advice in it works is tested with all other advice.
MEANINGLESS = [
    (
        ["model.decoder.batch_norm=true", *DREG],
        "gradient=dreg does not go with a decoder that is batch-normalised",
    ),
    (
        ["model.decoder.batch_norm=true", WEIGHTED, "objective.encoder_groups=5"],
        "encoder_groups does not go",
    ),
    (
        ["model/likelihood=normal_learned", "model.likelihood.scale=optimal", WEIGHTED],
        "scale=optimal assumes samples of equal weight",
    ),
    (
        [*CATEGORIES, WEIGHTED],
        "importance weights cannot score samples of temperature=0.1",
    ),
    (
        [*CATEGORIES, "model/prior=vamp"],
        "a prior made of posteriors cannot score samples of temperature=0.1",
    ),
    (
        [*CATEGORIES[:2], "model/prior=vamp", "objective=mmd", "objective.rate_weight=1"],
        "compares relaxed samples, which this prior cannot draw",
    ),
    (
        [*CODEBOOK, "objective=mmd", "objective.rate_weight=1"],
        "the maximum mean discrepancy needs vectors, not codes",
    ),
    (
        [*CODEBOOK, "objective=moment_matching"],
        "moment matching needs vectors, not codes",
    ),
    (
        ["objective=capacity", "model/prior=mixture"],
        "a capacity would spoil a prior that is learned",
    ),
    (
        ["objective=capacity", "model=hierarchical"],
        "a capacity is defined for one stochastic layer, not 2",
    ),
    (
        ["model=hierarchical", "model/posterior@model.conditional=deterministic"],
        "a deterministic conditional has no density",
    ),
    (
        ["model=hierarchical", "model/posterior@model.conditional=von_mises_fisher"],
        "latents on a sphere do not fit",
    ),
    (
        ["objective=moment_matching", "model/posterior=flow"],
        "moment matching needs a posterior whose mean and variance are known",
    ),
]


def check_of(*overrides: str) -> None:
    config = compose("train", [*SMALL, *overrides])
    model = instantiate(to_container(config.model), "model")
    check_together(model, instantiate(to_container(config.objective), "objective"))


@pytest.mark.parametrize(("overrides", "message"), MEANINGLESS)
def test_a_combination_that_would_be_wrong_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        check_of(*overrides)
    assert "\n" not in str(refusal.value)


def test_a_model_of_codes_is_reported_to_have_no_bound() -> None:
    assert has_bound(tiny_vae())
    assert not has_bound(of_codes())


# -- other refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["total_correlation", "mmd", "moment_matching"])
def test_two_layers_are_refused_where_one_is_required(option: str) -> None:
    trace = linear_gaussian(SHAPE)(grey_images(SHAPE), 1)
    two = Trace(trace.x, [*trace.latents, *trace.latents], trace.likelihood)
    with pytest.raises(ValueError, match="is defined for one stochastic layer, not 2: choose"):
        configured(option)(two, 0)


def test_total_correlation_refuses_dependent_dimensions() -> None:
    objective = configured("total_correlation")
    correlated = linear_gaussian(SHAPE, correlated=True)(grey_images(SHAPE), 1)
    with pytest.raises(ValueError, match="choose model/posterior=diagonal_normal"):
        objective(correlated, 0)
    (latent,) = linear_gaussian(SHAPE)(grey_images(SHAPE), 1).latents
    swapped = Latent(latent.z, latent.posterior, correlated.latents[0].posterior)
    with pytest.raises(ValueError, match="choose model/prior=standard_normal"):
        objective(Trace(correlated.x, (swapped,), correlated.likelihood), 0)


def test_moment_matching_refuses_a_posterior_without_known_moments() -> None:
    class Unknown(Independent):
        @property
        def mean(self) -> Tensor:
            raise NotImplementedError

    posterior = Unknown(Normal(torch.zeros(3, 2), 1.0), 1)
    trace = tiny_vae()(grey_images(dtype=torch.float32), 1)
    latent = Latent(torch.zeros(1, 3, 2), posterior, trace.latents[0].prior)
    with pytest.raises(ValueError, match="choose model/posterior=diagonal_normal"):
        configured("moment_matching")(Trace(trace.x, (latent,), trace.likelihood), 0)


@pytest.mark.parametrize(
    ("option", "key", "value"),
    [
        ("capacity", "gamma", -1.0),
        ("capacity", "capacity", float("nan")),
        ("total_correlation", "alpha", -1.0),
        ("total_correlation", "beta", -1.0),
        ("total_correlation", "gamma", float("nan")),
        ("mmd", "rate_weight", -1.0),
        ("mmd", "mmd_weight", -1.0),
        ("mmd", "scales", []),
        ("mmd", "scales", [1.0, 0.0]),
        ("moment_matching", "diagonal_weight", -1.0),
        ("moment_matching", "off_diagonal_weight", -1.0),
        ("geco", "target", float("nan")),
        ("geco", "step_size", -1.0),
        ("geco", "averaging", 1.0),
        ("autoencoder", "latent_weight", -1.0),
        ("autoencoder", "decoder_weight", -1.0),
    ],
)
def test_values_out_of_range_are_refused_by_name(option: str, key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key):
        instantiate({**configuration("objective", option), key: value}, "objective")


# -- capacity --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "capacity"), [(0, 0.0), (5, 2.0), (10, 4.0), (99, 4.0)])
def test_loss_contains_the_distance_of_the_rate_from_a_growing_capacity(
    step: int, capacity: float
) -> None:
    torch.manual_seed(0)
    trace = with_wrong_posterior(SHAPE)(grey_images(SHAPE), 2)
    objective = Capacity(2, gamma=3.0, capacity=4.0, schedule=Linear(10))
    rate = trace.rate.mean().item()
    expected = trace.distortion.mean().item() + 3 * abs(rate - capacity)
    assert 0 < rate < 2  # so that it is below and above
    assert objective(trace, step)[0].item() == pytest.approx(expected)
