"""Several stochastic layers: bounds where the evidence is known, the ladder, the settings."""

import math
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from tiny import SIZE, head, tiny_data, tiny_module, tiny_trainer
from vae_lightning.checkpoint import load
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.distributions.likelihoods.bernoulli import Bernoulli
from vae_lightning.distributions.likelihoods.normal import Normal as NormalLikelihood
from vae_lightning.distributions.monte_carlo import MonteCarloKL
from vae_lightning.distributions.normal_product import product_of_normals
from vae_lightning.distributions.posteriors.diagonal_normal import DiagonalNormal
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.distributions.priors.prior import Encode, Prior
from vae_lightning.distributions.priors.standard_normal import StandardNormal
from vae_lightning.metrics import latents
from vae_lightning.metrics.decomposition import rate_decomposition
from vae_lightning.metrics.latents import active_units, usage
from vae_lightning.models.hierarchical import HierarchicalVAE
from vae_lightning.networks import MLPDecoder, MLPEncoder
from vae_lightning.objectives import ELBO
from vae_lightning.objectives.schedules import Constant

INFERENCE = ["bottom_up", "top_down", "ladder"]
DECODER_SEES = ["lowest", "all"]
NORMALISED = partial(MLPEncoder, hidden=[8], activation="tanh", batch_norm=True, input_range=[0, 1])
SCALE = 0.5  # of a pixel
INNER_SCALE = 0.6  # of z1 given z2


class OfPosteriors(Prior):
    """The mean of the posteriors of two images: a VampPrior, of one component to keep it short."""

    space = None

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.images = nn.Parameter(torch.rand(1, 1, SIZE, SIZE))

    def forward(self, encode: Encode) -> Distribution:
        posterior = encode(self.images)
        assert isinstance(posterior, Independent)
        loc, scale = posterior.base_dist.loc[0], posterior.base_dist.scale[0]
        return Independent(Normal(loc, scale), 1)


class OnSphere(DiagonalNormal):
    space = "sphere"  # type: ignore[assignment]


def tiny_hierarchy(inference: Any = "top_down", **options: Any) -> HierarchicalVAE:
    """The same weights at each call with the same options."""
    defaults: dict[str, Any] = {
        "image_shape": (1, SIZE, SIZE),
        "latent_dims": [3, 2],
        "encoder": partial(
            MLPEncoder, hidden=[8], activation="tanh", batch_norm=False, input_range=[0, 1]
        ),
        "inner": partial(MLPDecoder, hidden=[5], activation="tanh", batch_norm=False),
        "posterior": partial(DiagonalNormal, scale="log_variance"),
        "conditional": partial(DiagonalNormal, scale="log_variance"),
        "prior": StandardNormal,
        "decoder": partial(MLPDecoder, hidden=[8], activation="tanh", batch_norm=False),
        "likelihood": partial(Bernoulli, start_at_mean=False),
        "decoder_sees": "all",
        "initialization": "torch",
        "num_classes": None,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return HierarchicalVAE(inference=inference, **{**defaults, **options})


def grey_images(count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 1, SIZE, SIZE, generator=generator, dtype=torch.float64)


# -- the evidence is known ------------------------------------------------------------------------


def linear_gaussian(inference: str) -> HierarchicalVAE:
    """z2 ~ N(0, 1), z1 = A z2 + noise, x = W z1 + noise, in float64, with the true posterior.

    A is diagonal and W has orthogonal columns, so that all posteriors have independent dimensions;
    no network has a hidden layer, so that each head alone is its layer's distribution.
    """
    likelihood = partial(NormalLikelihood, start_at_mean=False, scale=SCALE)
    model = tiny_hierarchy(
        inference,
        latent_dims=[2, 2],
        encoder=partial(
            MLPEncoder, hidden=[], activation="tanh", batch_norm=False, input_range=[0, 1]
        ),
        inner=partial(MLPDecoder, hidden=[], activation="tanh", batch_norm=False),
        decoder=partial(MLPDecoder, hidden=[], activation="tanh", batch_norm=False),
        likelihood=likelihood,
        decoder_sees="lowest",
    ).double()
    generator = torch.Generator().manual_seed(0)
    w = torch.linalg.qr(torch.randn(16, 2, generator=generator, dtype=torch.float64)).Q
    w = w * torch.tensor([1.5, 0.7], dtype=torch.float64)
    a = torch.tensor([0.9, -1.3], dtype=torch.float64)
    bias = torch.rand(16, generator=generator, dtype=torch.float64)
    # The likelihood of z1 given x alone: mean w^T (x - bias) / |w|^2, variance SCALE^2 / |w|^2.
    strength = (w**2).sum(0)
    seen, seen_variance = w.T / strength[:, None], SCALE**2 / strength
    inner = INNER_SCALE**2

    def fill(layer: nn.Module, weight: Tensor, shift: Tensor, variance: Tensor) -> None:
        assert isinstance(layer, Posterior)
        spread = torch.zeros_like(weight)
        head(layer).weight.copy_(torch.cat([weight, spread]))
        head(layer).bias.copy_(torch.cat([shift, variance.log()]))

    with torch.no_grad():
        head(model.likelihood).weight.copy_(w)
        head(model.likelihood).bias.copy_(bias)
        fill(model.conditionals[0], a.diag(), torch.zeros(2), torch.full_like(a, inner))
        if inference == "bottom_up":
            # q(z1|x): the prior of z1 is N(0, a^2 + inner), since z2 is integrated out.
            prior_variance = a**2 + inner
            variance = 1 / (1 / prior_variance + 1 / seen_variance)
            gain = (variance / seen_variance)[:, None] * seen
            fill(model.posteriors[0], gain, -gain @ bias, variance)
            variance = 1 / (1 + a**2 / inner)
            fill(model.posteriors[1], (variance * a / inner).diag(), torch.zeros(2), variance)
        else:
            # q(z2|x): through z1, with the noise of both.
            noise = seen_variance + inner
            variance = 1 / (1 + a**2 / noise)
            gain = (variance * a / noise)[:, None] * seen
            fill(model.posteriors[1], gain, -gain @ bias, variance)
            if inference == "ladder":
                fill(model.posteriors[0], seen, -seen @ bias, seen_variance)
            else:
                variance = 1 / (1 / inner + 1 / seen_variance)
                gain = (variance / seen_variance)[:, None] * seen
                joint = torch.cat([gain, (variance / inner * a).diag()], dim=1)
                fill(model.posteriors[0], joint, -gain @ bias, variance)
    return model.requires_grad_(False)


def with_wrong_posterior(inference: str) -> HierarchicalVAE:
    """The same model; the posterior of each layer shifted and twice as wide."""
    model = linear_gaussian(inference)
    for layer in model.posteriors:
        assert isinstance(layer, Posterior)
        head(layer).bias.add_(torch.tensor([0.2, -0.3, 2 * math.log(2), 2 * math.log(2)]))
    return model


def log_evidence(model: HierarchicalVAE, x: Tensor) -> Tensor:
    """The exact log p(x), (B,)."""
    w, bias = head(model.likelihood).weight, head(model.likelihood).bias
    conditional = model.conditionals[0]
    assert isinstance(conditional, Posterior)
    a = head(conditional).weight[:2]
    of_z1 = a @ a.T + INNER_SCALE**2 * torch.eye(2).double()
    covariance = w @ of_z1 @ w.T + SCALE**2 * torch.eye(16)
    return MultivariateNormal(bias, covariance).log_prob(x.flatten(1))


@pytest.mark.parametrize("inference", INFERENCE)
def test_every_importance_weight_of_the_true_posterior_is_the_evidence(inference: str) -> None:
    torch.manual_seed(0)
    model, x = linear_gaussian(inference), grey_images()
    log_weight = model(x, 7).log_weight
    torch.testing.assert_close(log_weight, log_evidence(model, x).expand(7, 3), rtol=0, atol=1e-10)


@pytest.mark.parametrize("inference", INFERENCE)
def test_mean_elbo_of_the_true_posterior_is_the_evidence(inference: str) -> None:
    torch.manual_seed(0)
    model, x = linear_gaussian(inference), grey_images()
    elbo = model(x, 30_000).elbo
    standard_error = elbo.std(0) / math.sqrt(len(elbo))
    assert (standard_error < 0.02).all()
    error = elbo.mean(0) - log_evidence(model, x)
    assert (error.abs() < 5 * standard_error + 1e-9).all()


@pytest.mark.parametrize("inference", INFERENCE)
def test_elbo_estimates_the_mean_log_weight_of_any_posterior(inference: str) -> None:
    torch.manual_seed(0)
    trace = with_wrong_posterior(inference)(grey_images(), 30_000)
    difference = trace.elbo - trace.log_weight
    standard_error = difference.std(0) / math.sqrt(len(difference))
    assert (difference.mean(0).abs() < 5 * standard_error + 1e-9).all()


@pytest.mark.parametrize("inference", INFERENCE)
def test_bound_of_a_wrong_posterior_is_below_the_evidence_and_tightens(inference: str) -> None:
    torch.manual_seed(0)
    model, x = with_wrong_posterior(inference), grey_images()
    evidence = log_evidence(model, x)
    log_weight = model(x, 60_000).log_weight
    bounds = [
        (log_weight.unflatten(0, (-1, k)).logsumexp(1) - math.log(k)).mean(0) for k in (1, 5, 50)
    ]
    for looser, tighter in zip(bounds, [*bounds[1:], evidence], strict=True):
        assert (looser < tighter).all()
    weights = (log_weight - evidence).exp()
    standard_error = weights.std(0) / math.sqrt(len(weights))
    assert (standard_error < 0.03).all()
    assert ((weights.mean(0) - 1).abs() < 5 * standard_error).all()


# -- the ladder's merge ---------------------------------------------------------------------------


def test_product_of_normals_is_the_product_of_their_densities() -> None:
    torch.manual_seed(0)
    first = Independent(Normal(torch.randn(4, 1).double(), torch.rand(4, 1).double() + 0.1), 1)
    second = Independent(Normal(torch.randn(2, 4, 1).double(), torch.rand(2, 4, 1).double() + 1), 1)
    grid = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    points = grid[:, None, None, None].expand(-1, 2, 4, 1)
    log_product = first.log_prob(points) + second.log_prob(points)
    mass = torch.trapezoid(log_product.exp(), grid, dim=0)
    merged = product_of_normals(first, second)
    assert merged.batch_shape == (2, 4)
    near = (points[..., 0] - merged.mean[..., 0]).abs() < 5 * merged.stddev[..., 0]
    error = merged.log_prob(points) - (log_product - mass.log())
    assert error[near].abs().max() < 1e-8


def test_product_of_normals_stays_finite_where_one_of_them_is_a_point() -> None:
    point = Independent(Normal(torch.tensor([2.0]), torch.tensor([1e-25])), 1)
    broad = Independent(Normal(torch.tensor([-1.0]), torch.tensor([1e5])), 1)
    for pair in ((point, broad), (broad, point)):
        merged = product_of_normals(*pair)
        torch.testing.assert_close(merged.mean, torch.tensor([2.0]))
        assert isinstance(merged, Independent)
        torch.testing.assert_close(merged.base_dist.scale, torch.tensor([1e-25]), rtol=1e-6, atol=0)


def test_ladder_is_the_prior_if_the_image_has_no_information() -> None:
    model = tiny_hierarchy("ladder").double()
    bottom = model.posteriors[0]
    assert isinstance(bottom, Posterior)
    with torch.no_grad():
        head(bottom).weight.zero_()
        head(bottom).bias.copy_(torch.tensor([5.0] * 3 + [40.0] * 3))  # variance e^40
    latent = model(grey_images(), 2).latents[0]
    torch.testing.assert_close(latent.posterior.mean, latent.prior.mean)
    torch.testing.assert_close(latent.posterior.stddev, latent.prior.stddev)


# -- shapes, sums, gradients ----------------------------------------------------------------------


@pytest.mark.parametrize("decoder_sees", DECODER_SEES)
@pytest.mark.parametrize("inference", INFERENCE)
@pytest.mark.parametrize("num_classes", [None, 3])
def test_layers_come_lowest_first_and_every_parameter_gets_a_gradient(
    inference: str, decoder_sees: str, num_classes: int | None
) -> None:
    torch.manual_seed(0)
    model = tiny_hierarchy(
        inference, latent_dims=[4, 3, 2], decoder_sees=decoder_sees, num_classes=num_classes
    )
    x, labels = grey_images(5).float(), torch.tensor([0, 1, 2, 0, 1])
    trace = model(x, 6, labels)
    assert [latent.z.shape for latent in trace.latents] == [(6, 5, 4), (6, 5, 3), (6, 5, 2)]
    first = 0 if inference == "bottom_up" else 2
    for layer, latent in enumerate(trace.latents):
        assert latent.posterior.batch_shape == ((5,) if layer == first else (6, 5))
        assert latent.prior.batch_shape == (() if layer == 2 else (6, 5))
        assert latent.mean.shape == (5, [4, 3, 2][layer])
        assert latent.log_q.shape == latent.log_p.shape == latent.rate.shape == (6, 5)
    assert trace.elbo.shape == trace.log_weight.shape == (6, 5)

    loss, _ = ELBO(6, 1.0, Constant(), free_bits=0.1)(trace, 0)
    (loss - trace.log_weight.logsumexp(0).mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("inference", INFERENCE)
def test_log_weight_is_the_sum_over_layers(inference: str) -> None:
    torch.manual_seed(0)
    trace = tiny_hierarchy(inference, latent_dims=[4, 3, 2]).double()(grey_images(), 5)
    total = trace.likelihood.log_prob(trace.x)
    for latent in trace.latents:
        total = total + latent.prior.log_prob(latent.z) - latent.posterior.log_prob(latent.z)
    torch.testing.assert_close(trace.log_weight, total)
    rates = torch.stack([latent.rate for latent in trace.latents])
    torch.testing.assert_close(trace.rate, rates.sum(0))
    assert (rates[-1] > 0).all()


@pytest.mark.parametrize("inference", INFERENCE)
def test_each_sample_of_a_layer_follows_its_own_sample_of_the_layer_before(inference: str) -> None:
    torch.manual_seed(0)
    model = tiny_hierarchy(inference).double()
    bottom, top = model(grey_images(), 4).latents
    assert bottom.z.unique(dim=0).shape[0] == top.z.unique(dim=0).shape[0] == 4
    for k in range(4):
        prior = model._conditional(0, top.z[k])
        torch.testing.assert_close(bottom.prior.mean[k], prior.mean)
        if inference == "bottom_up":
            expected = model.posteriors[1](model.up[0](bottom.z[k]))
            torch.testing.assert_close(top.posterior.mean[k], expected.mean)


def test_no_closed_form_is_used_for_a_prior_that_depends_on_the_sample() -> None:
    torch.manual_seed(0)
    bottom, top = tiny_hierarchy("bottom_up").double()(grey_images(), 4).latents
    assert isinstance(bottom.prior, MonteCarloKL)
    torch.testing.assert_close(bottom.rate, bottom.log_q - bottom.log_p)
    # The top layer's prior depends on no sample.
    assert (top.rate - (top.log_q - top.log_p)).abs().min() > 1e-6
    assert bottom.prior.sample((2,)).shape == (2, 4, 3, 3)


def test_ways_of_inference_are_different_models_of_the_same_images() -> None:
    x = grey_images()
    names = {}
    for inference in INFERENCE:
        torch.manual_seed(0)
        model = tiny_hierarchy(inference).double()
        moved = x.clone()
        moved[0] = 1 - moved[0]
        bottom, top = model.infer(x, 1)
        # Which layer's posterior is of the image alone.
        names[inference] = (len(bottom.posterior.batch_shape), len(top.posterior.batch_shape))
        assert (model.reconstruct(moved)[0] - model.reconstruct(x)[0]).abs().max() > 1e-4
        torch.testing.assert_close(model.reconstruct(moved)[1:], model.reconstruct(x)[1:])
    assert names == {"bottom_up": (1, 2), "top_down": (2, 1), "ladder": (2, 1)}
    top_down, ladder = (tiny_hierarchy(way).double() for way in ("top_down", "ladder"))
    assert len(top_down.down) == 1
    assert len(ladder.down) == 0


@pytest.mark.parametrize("inference", ["top_down", "ladder"])
def test_posterior_of_the_lower_layer_depends_on_the_image_and_the_layer_above(
    inference: str,
) -> None:
    model = tiny_hierarchy(inference).double()
    x = grey_images()

    def lowest(x: Tensor, above: float) -> Tensor:
        taken = iter([torch.full((3, 2), above).double()])
        latents = model._layers(x, None, lambda posterior: (next(taken, posterior.mean), None))
        return latents[0].posterior.mean

    assert (lowest(x, 0.0) - lowest(x, 1.0)).abs().min() > 1e-4
    assert (lowest(x, 0.0) - lowest(1 - x, 0.0)).abs().min() > 1e-5
    assert len(model._features(x, None)) == 2


@pytest.mark.parametrize("decoder_sees", DECODER_SEES)
def test_decoder_takes_one_layer_or_all_as_configured(decoder_sees: str) -> None:
    model = tiny_hierarchy("top_down", decoder_sees=decoder_sees).double()
    bottom, top = torch.zeros(3, 3).double(), torch.zeros(3, 2).double()
    there = model.decode([bottom, top]).mean
    moved = model.decode([bottom, top + 1]).mean
    assert torch.equal(there, moved) == (decoder_sees == "lowest")
    assert not torch.equal(there, model.decode([bottom + 1, top]).mean)


@pytest.mark.parametrize("inference", INFERENCE)
def test_reconstruction_draws_nothing(inference: str) -> None:
    model, x = tiny_hierarchy(inference), grey_images().float()
    state = torch.get_rng_state()
    images = model.reconstruct(x)
    assert images.shape == x.shape
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_are_images_of_the_generative_model() -> None:
    torch.manual_seed(0)
    model = linear_gaussian("top_down")
    samples = model.sample(100_000)
    assert samples.shape == (100_000, 1, SIZE, SIZE)
    # Of the mean of p(x|z1), so without the noise of a pixel.
    w, a = head(model.likelihood).weight, torch.tensor([0.9, -1.3]).double()
    expected = w @ (a**2 + INNER_SCALE**2).diag() @ w.T
    torch.testing.assert_close(samples.flatten(1).T.cov(), expected, rtol=0, atol=0.02)
    torch.testing.assert_close(
        samples.mean(0).flatten(), head(model.likelihood).bias, rtol=0, atol=0.02
    )


def test_samples_of_labels_are_of_these_labels() -> None:
    model = tiny_hierarchy(num_classes=3)

    def drawn(labels: Tensor | None) -> Tensor:
        torch.manual_seed(0)
        return model.sample(6, labels)

    in_turn = torch.tensor([0, 1, 2, 0, 1, 2])
    assert torch.equal(drawn(None), drawn(in_turn))
    assert not torch.equal(drawn(None), drawn(in_turn.flip(0)))


@pytest.mark.parametrize("inference", ["top_down", "ladder"])
@pytest.mark.parametrize("num_classes", [None, 3])
def test_prior_made_of_posteriors_is_made_of_those_of_the_top_layer(
    inference: str, num_classes: int | None
) -> None:
    model = tiny_hierarchy(inference, prior=OfPosteriors, num_classes=num_classes)
    assert isinstance(model.prior, OfPosteriors)
    prior, x = model.prior_distribution(), model.prior.images
    expected = model.infer(x, 1, torch.zeros(1, dtype=torch.int64))[-1].posterior
    torch.testing.assert_close(prior.mean, expected.mean[0])
    model(x.detach(), 1, torch.zeros(1, dtype=torch.int64)).elbo.sum().backward()
    assert model.prior.images.grad is not None


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inference", "options", "message"),
    [
        ("bottom_up", {"prior": OfPosteriors}, "choose model.inference=top_down"),
        (
            "top_down",
            {"prior": OfPosteriors, "encoder": NORMALISED},
            "model.encoder.batch_norm=false",
        ),
        ("ladder", {"posterior": partial(OnSphere, scale="softplus")}, "diagonal_normal"),
        ("top_down", {"posterior": partial(OnSphere, scale="softplus")}, "are in Euclidean space"),
        ("top_down", {"latent_dims": [4]}, r"latent_dims=\[4\].*model=vae"),
        ("top_down", {"latent_dims": [4, 0]}, r"latent_dims=\[4, 0\]"),
        ("top_down", {"num_classes": 0}, "no labels"),
    ],
)
def test_what_does_not_fit_is_refused(
    inference: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        tiny_hierarchy(inference, **options)
    assert "\n" not in str(refusal.value)


# -- metrics, and a run ---------------------------------------------------------------------------


def test_active_units_are_counted_layer_by_layer() -> None:
    # Of a linear model that follows the image in both layers; the posterior of the upper one is
    # then cut off from the image in one dimension.
    model = linear_gaussian("top_down")
    top = model.posteriors[1]
    assert isinstance(top, Posterior)
    head(top).weight[0].zero_()
    images = model.sample(2000)
    scores = usage(model, images, None)
    assert scores["active_units_per_layer"] == [2.0, 1.0]
    assert scores["active_units"] == 3.0
    assert rate_decomposition(model, images[:10], None, seed=0) == {}
    rates = scores["rate_per_dimension"]
    assert isinstance(rates, list)
    assert len(rates) == 4


def test_a_layer_that_follows_only_the_noise_of_another_is_not_active() -> None:
    # z1 = A z2 + noise whatever the image, and z2 is the prior: no layer depends on it.
    model = linear_gaussian("top_down")
    bottom, top = model.posteriors
    assert isinstance(bottom, Posterior)
    assert isinstance(top, Posterior)
    head(top).weight.zero_()
    head(top).bias.zero_()
    head(bottom).weight[:, :16].zero_()
    images = model.sample(5000)
    latent = model.infer(images, 1)[0]
    assert active_units(latent.mean) == 2  # one sample would call them active
    scores = usage(model, images, None)
    assert scores["active_units_per_layer"] == [0.0, 0.0]
    below, above = cast(list[float], scores["rate_per_layer"])
    assert above == pytest.approx(0, abs=1e-12)
    assert below > 1  # a posterior that does not look at the image is still not the prior


@pytest.mark.parametrize("inference", ["bottom_up", "top_down", "ladder"])
def test_rates_of_the_layers_add_up_to_the_rate(inference: str) -> None:
    torch.manual_seed(0)
    model = tiny_hierarchy(inference, latent_dims=[3, 2, 2]).double()
    images = grey_images(2000)
    rates = cast(list[float], usage(model, images, None)["rate_per_layer"])
    assert len(rates) == 3
    rate = model(images, 8).rate
    errors = 4 * math.sqrt(2 / rate.numel()) * rate.std().item()  # of two independent means
    assert sum(rates) == pytest.approx(rate.mean().item(), abs=errors)
    assert errors < 0.2 * rate.mean().item()


def test_usage_counts_each_image_once_in_any_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    model = linear_gaussian("top_down")
    images = grey_images(10)
    images[8:] *= 5  # the last two, unlike the others, are in a batch of their own
    monkeypatch.setattr(latents, "_AVERAGED", 2000)
    whole = usage(model, images, None)
    monkeypatch.setattr(latents, "_ENCODED", 4)
    parts = usage(model, images, None)
    for name in ("rate_per_dimension", "rate_per_layer"):
        assert parts[name] == pytest.approx(cast(list[float], whole[name]), rel=0.02)
    means = [latent.rate.mean().item() for latent in model.infer(images[8:], 2000)]
    assert means != pytest.approx(cast(list[float], whole["rate_per_layer"]), rel=0.1)


def test_rate_per_dimension_is_of_all_layers_or_of_none() -> None:
    assert "rate_per_dimension" not in usage(linear_gaussian("bottom_up"), grey_images(), None)


def test_a_saved_model_loads(tmp_path: Path) -> None:
    config = to_container(
        compose(
            "train",
            [
                "model=hierarchical",
                "model.inference=bottom_up",
                f"data.size={SIZE}",
                "model.latent_dims=[3,2]",
                "model.inner.hidden=[7]",
                "paths.run_dir=unused",
            ],
        )
    )
    model = instantiate(config["model"], "model")
    module = tiny_module(model, lr=0.01, config=config)
    trainer = tiny_trainer(tmp_path)
    trainer.fit(module, tiny_data(num_classes=3))
    trainer.save_checkpoint(tmp_path / "best.ckpt")
    loaded = load(tmp_path / "best.ckpt")
    assert isinstance(loaded, HierarchicalVAE)
    x = grey_images().float()
    assert torch.equal(loaded.reconstruct(x), model.eval().reconstruct(x))
    assert loaded.up[0].out_features == 7
