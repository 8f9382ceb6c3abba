"""The public methods of all models and options."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, Uniform
from torch.overrides import TorchFunctionMode

from linear_gaussian import grey_images, linear_gaussian, log_evidence, with_wrong_posterior
from tiny import composed_model, options, spaces
from vae_lightning.distributions.flows import FlowDistribution
from vae_lightning.distributions.normal_mixture import NormalMixture
from vae_lightning.distributions.spaces import PATHS, PRIORS
from vae_lightning.distributions.temperature import tempered
from vae_lightning.metrics import latents
from vae_lightning.metrics.likelihood import bounds_of
from vae_lightning.models import Model
from vae_lightning.models.hierarchical import HierarchicalVAE
from vae_lightning.models.vector_quantized import VectorQuantized
from vae_lightning.utils.random_state import noise_of

SMALL = ("data=digits", "data.size=8")
NARROW = ("model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "model.latent_dim=4")
MAPS = ("model.encoder.channels=[4,4]", "model.decoder.channels=[4,4]")
MODELS = {
    "conditional": ("model=conditional", *NARROW),
    "hierarchical": ("model=hierarchical", "model.latent_dims=[3,2]"),
    "ladder": ("model=hierarchical", "model.inference=ladder", "model.latent_dims=[3,2]"),
    "bottom up": ("model=hierarchical", "model.inference=bottom_up", "model.latent_dims=[3,2]"),
    "vector quantized": ("model=vector_quantized", "model.prior.width=8", *MAPS),
    **{
        f"likelihood {name}": (*NARROW, f"model/likelihood={name}")
        for name in (options("model/likelihood"))
    },
    **{
        f"posterior {name}": (
            *NARROW,
            f"model/posterior={name}",
            f"model/prior={PRIORS[space or 'euclidean'][0]}",
        )
        for name, space in spaces("model/posterior").items()
    },
    **{
        f"prior {name}": (*NARROW, f"model/prior={name}")
        for name, space in spaces("model/prior").items()
        if space in ("euclidean", None)
    },
}
if "posterior relaxed_categorical" in MODELS:
    MODELS["posterior relaxed_categorical"] += (
        "model.posterior.categories=2",
        "model.prior.categories=2",
    )
WITH_BOUND = [name for name in MODELS if name != "posterior deterministic"]


def model_of(name: str) -> Model:
    return composed_model(*SMALL, *MODELS[name]).eval()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(model: Model, count: int = 3) -> tuple[Tensor, Tensor | None]:
    images = torch.rand(count, *model.image_shape, generator=seeded())
    return images, model.each_class_in_turn(count, images.device)


# -- every model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_results_of_every_model_have_the_documented_shapes_and_ranges(name: str) -> None:
    model = model_of(name)
    x, labels = inputs(model)
    samples = model.sample(5, generator=seeded())
    way = model.interpolate(x, x.flip(0), 4, labels_a=labels, labels_b=labels)
    assert samples.shape == (5, 1, 8, 8)
    assert model.reconstruct(x, labels).shape == x.shape
    assert way.shape == (3, 4, 1, 8, 8)
    assert model.latent_means(x, labels).shape == model.sample_latents(3).shape
    assert model.encode(x, labels).mean.shape[0] == 3
    for answer in (samples, way):
        assert answer.isfinite().all()
        assert not answer.requires_grad
    if "normal" not in name.removeprefix("posterior") and "laplace" not in name:
        assert samples.min() >= 0
        assert samples.max() <= 1


@pytest.mark.parametrize("name", WITH_BOUND)
def test_every_model_with_a_density_gives_a_bound_for_each_image(name: str) -> None:
    model = model_of(name)
    x, labels = inputs(model)
    bound, again = (model.log_likelihood(x, 3, labels, generator=seeded()) for _ in range(2))
    assert bound.shape == (3,)
    assert bound.dtype == torch.float64
    assert bound.isfinite().all()
    assert not bound.requires_grad
    assert torch.equal(bound, again)


@pytest.mark.parametrize("name", MODELS)
def test_a_generator_decides_every_draw_and_leaves_torch_s_own_alone(name: str) -> None:
    model = model_of(name)
    x, labels = inputs(model)
    before = torch.get_rng_state()
    has_density = name in WITH_BOUND

    def answers(seed: int) -> list[Tensor]:
        generator = seeded(seed)
        return [
            model.sample(4, generator=generator),
            model.sample(4, generator=generator),
            *([model.log_likelihood(x, 2, labels, generator=generator)] if has_density else []),
        ]

    first, again = answers(1), answers(1)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])  # it moves on
    assert not torch.equal(first[0], answers(2)[0])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", MODELS)
def test_both_ends_of_an_interpolation_are_the_reconstructions(name: str) -> None:
    model = model_of(name)
    a, labels_a = inputs(model)
    b, labels_b = a.flip(0), None if labels_a is None else labels_a.flip(0)
    for path in PATHS[model.latent_space]:
        way = model.interpolate(a, b, 3, path=path, labels_a=labels_a, labels_b=labels_b)
        torch.testing.assert_close(way[:, 0], model.reconstruct(a, labels_a), atol=1e-5, rtol=0)
        torch.testing.assert_close(way[:, -1], model.reconstruct(b, labels_b), atol=1e-5, rtol=0)


def test_a_conditional_interpolation_goes_from_one_class_to_the_other() -> None:
    model = model_of("conditional")
    x, _ = inputs(model, 1)
    zero, one = torch.tensor([0]), torch.tensor([1])
    way = model.interpolate(x, x, 3, labels_a=zero, labels_b=one)[0]
    latents = model.latent_means(x, zero).lerp(model.latent_means(x, one), 0.5)
    shares = torch.zeros(1, 10)
    shares[0, :2] = 0.5
    torch.testing.assert_close(way[1:2], model.mean_images(latents, shares))
    assert not torch.allclose(way[0], way[2])


# -- log-likelihood -------------------------------------------------------------------------------


def test_log_likelihood_under_the_true_posterior_is_the_evidence() -> None:
    x = grey_images((1, 2, 3))
    model = linear_gaussian((1, 2, 3))
    bound = model.log_likelihood(x, 1, generator=seeded())
    torch.testing.assert_close(bound, log_evidence(model, x))


def test_log_likelihood_stays_below_the_evidence_and_tightens_with_more_samples() -> None:
    model = with_wrong_posterior((1, 2, 3))
    x = grey_images((1, 2, 3)).repeat_interleave(200, dim=0)
    means = [float(model.log_likelihood(x, k, generator=seeded()).mean()) for k in (1, 5, 50, 1000)]
    evidence = float(log_evidence(model, x).mean())
    assert means == sorted(means)
    assert evidence - means[0] > 0.1
    assert abs(evidence - means[-1]) < 0.01


def test_log_likelihood_is_that_of_the_evaluation_in_distribution() -> None:
    model = with_wrong_posterior((1, 2, 3))
    x = grey_images((1, 2, 3))[:1]
    repeated = 2000
    bounds = model.log_likelihood(x.expand(repeated, -1, -1, -1), 3, generator=seeded())
    with noise_of(seeded(1), x.device):
        evaluated = -torch.stack([bounds_of(model, x, 3)[0] for _ in range(repeated)])
    error = float((bounds.var() / repeated + evaluated.var() / repeated).sqrt())
    assert abs(float(bounds.mean() - evaluated.mean())) < 4 * error
    torch.testing.assert_close(bounds.std(), evaluated.std(), rtol=0.1, atol=0)


def test_log_likelihood_in_chunks_counts_every_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    model = linear_gaussian((1, 2, 2))
    x = grey_images((1, 2, 2))
    monkeypatch.setattr("vae_lightning.models.model._DRAWN", 7)
    torch.testing.assert_close(model.log_likelihood(x, 9), log_evidence(model, x))


# -- temperature ----------------------------------------------------------------------------------

SCALE = torch.tensor([0.5, 2.0])


def normal() -> Independent:
    return Independent(Normal(torch.tensor([1.0, -1.0]), SCALE), 1)


def mixture() -> NormalMixture:
    one = torch.zeros(1)
    return NormalMixture(one, torch.tensor([[1.0, -1.0]]), SCALE[None])


@pytest.mark.parametrize("make", [normal, mixture])
def test_temperature_scales_the_deviation(make: Any) -> None:
    torch.manual_seed(0)
    drawn = tempered(make(), 0.5).sample((20_000,))
    torch.testing.assert_close(drawn.std(0), 0.5 * SCALE, rtol=0.03, atol=0)
    torch.testing.assert_close(drawn.mean(0), torch.tensor([1.0, -1.0]), rtol=0, atol=0.05)


def test_a_flow_transforms_tempered_noise() -> None:
    shift = torch.distributions.AffineTransform(3.0, 2.0, event_dim=1)
    torch.manual_seed(0)
    drawn = tempered(FlowDistribution(normal(), shift), 0.5).sample((20_000,))
    torch.testing.assert_close(drawn.std(0), 2 * 0.5 * SCALE, rtol=0.03, atol=0)


def test_cold_codes_are_the_most_probable_ones() -> None:
    model = model_of("vector quantized")
    torch.manual_seed(0)
    cold = model.sample_latents(200, temperature=1e-4)
    assert len(cold.unique(dim=0)) < len(model.sample_latents(200).unique(dim=0))


@pytest.mark.parametrize("name", ["posterior diagonal_normal", "hierarchical", "vector quantized"])
def test_at_temperature_one_the_draw_is_that_of_the_prior_and_below_another(name: str) -> None:
    model = model_of(name)
    usual = model.sample(4, generator=seeded())
    assert torch.equal(usual, model.sample(4, temperature=1.0, generator=seeded()))
    assert not torch.equal(usual, model.sample(4, temperature=0.5, generator=seeded()))


@pytest.mark.parametrize(
    ("distribution", "temperature", "message"),
    [
        (normal(), 0.0, "temperature=0.0 is out of range"),
        (normal(), float("nan"), "temperature=nan is out of range"),
        (Uniform(0.0, 1.0), 0.5, "is not defined for this model's prior, a Uniform: leave"),
    ],
)
def test_a_temperature_without_meaning_is_refused(
    distribution: Distribution, temperature: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        tempered(distribution, temperature)
    assert "\n" not in str(refused.value)


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 1, 9, 8), r"images of shape \(2, 1, 9, 8\): this model takes \(B, 1, 8, 8"),
        (torch.zeros(1, 8, 8), r"images of shape \(1, 8, 8\)"),
        (torch.zeros(0, 1, 8, 8), r"images of shape \(0, 1, 8, 8\)"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "images of torch.uint8: give floats"),
        (torch.zeros(2, 1, 8, 8).double(), "of torch.float64: this model takes torch.float32"),
        (torch.full((2, 1, 8, 8), 255.0), "images from 255 to 255: the values must be in"),
        (torch.full((2, 1, 8, 8), float("nan")), "images from nan to nan: the values"),
        (np.zeros((2, 1, 8, 8), np.float32), "images must be a torch.Tensor and not a ndarray"),
    ],
)
def test_what_is_not_images_of_the_model_is_refused(images: Any, message: str) -> None:
    model = model_of("posterior diagonal_normal")
    good = torch.zeros(2, 1, 8, 8)
    calls: list[Callable[[], object]] = [
        lambda: model.encode(images),
        lambda: model.latent_means(images),
        lambda: model.reconstruct(images),
        lambda: model.log_likelihood(images, 2),
        lambda: model.interpolate(images, good, 2),
        lambda: model.interpolate(good, images, 2),
    ]
    if isinstance(images, np.ndarray) or "the values" not in message:
        calls += [lambda: model(images, 1), lambda: model.infer(images, 1)]
    for call in calls:
        with pytest.raises(ValueError, match=message) as refused:
            call()
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["conditional", "hierarchical", "bottom up", "vector quantized"])
def test_every_model_checks_images_latents_and_numbers(name: str) -> None:
    model: Any = model_of(name)
    x, labels = inputs(model)
    size = model.latent_means(x, labels).shape[1]
    samples = [latent.z for latent in model.infer(x, 2, labels)]
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: model.encode(255 * x, labels), "the values must be in"),
        (lambda: model.latent_means(255 * x, labels), "the values must be in"),
        (lambda: model.latent_means(x.numpy(), labels), "images must be a torch.Tensor"),
        (lambda: model(x[:, :, :4], 1, labels), r"images of shape \(3, 1, 4, 8\)"),
        (lambda: model.infer(x.flatten(1), 1, labels), r"images of shape \(3, 64\)"),
        (lambda: model.chunked_trace(x.byte(), 1, labels), "images of torch.uint8"),
        (lambda: model(x, 0, labels), "num_samples=0 is out of range"),
        (lambda: model.infer(x, 2.5, labels), "num_samples=2.5 is not a whole number"),
        (lambda: model.mean_images(torch.zeros(3, size + 1), labels), r"takes \(N, "),
        (lambda: model.mean_images(torch.zeros(size), labels), r"latents of shape"),
        (lambda: model.mean_images(np.zeros((3, size)), labels), "latents must be a torch.Tensor"),
        (lambda: model.mean_images(torch.zeros(3, size).double(), labels), "of torch.float64"),
        (lambda: model.images_between(*torch.zeros(2, 3, size + 1), torch.ones(1)), r"\(N, "),
        (lambda: model.predict(samples[0], labels), "must be a list with a tensor for each"),
        (lambda: model.predict([*samples, samples[0]], labels), "must be a list"),
        (lambda: model.predict([z[0] for z in samples], labels), r"takes \(K, B, "),
        (lambda: model.predict([z > 0 for z in samples], labels), "latents of torch.bool"),
        (lambda: model.sample_latents(0), "num_images=0 is out of range"),
        (lambda: model.sample_latents(2.5), "num_images=2.5 is not a whole number"),
        (lambda: model.sample(True), "num_images=True is not a whole number"),
    ]
    for call, message in calls:
        with pytest.raises(ValueError, match=message) as refused:
            call()
        assert "\n" not in str(refused.value)


def test_images_and_labels_on_another_device_than_the_model_are_refused() -> None:
    model = model_of("conditional")
    x, labels = inputs(model)
    with pytest.raises(ValueError, match="images on meta: this model is on cpu"):
        model.latent_means(x.to("meta"), labels)
    assert labels is not None
    with pytest.raises(ValueError, match="labels on meta: the images are on cpu"):
        model.latent_means(x, labels.to("meta"))
    with pytest.raises(ValueError, match="latents on meta: this model is on cpu"):
        model.mean_images(model.sample_latents(3).to("meta"), labels)


def test_codes_that_do_not_exist_and_dimensions_beyond_the_last_are_refused() -> None:
    quantized, layered = model_of("vector quantized"), model_of("hierarchical")
    assert isinstance(quantized, VectorQuantized)
    assert isinstance(layered, HierarchicalVAE)
    size = quantized.prior.map_size
    for codes, message in (
        (torch.full((2, *size), 9999), "codes from 9999 to 9999: they are 0 to"),
        (torch.zeros(2, *size), "codes of torch.float32"),
        (torch.zeros(2, 99, 99, dtype=torch.int64), r"shape \(2, 99, 99\)"),
    ):
        with pytest.raises(ValueError, match=message):
            quantized.vectors_of(codes)
    with pytest.raises(ValueError, match=r"vectors of torch\.float32 and shape"):
        quantized.decode(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"moved=\[5\]: name dimensions from 0 to 4"):
        layered.follow(torch.zeros(2, 5), [5])


class _Waits(TorchFunctionMode):
    """Notes the functions that wait for a GPU to look at values."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("aminmax", "unique", "item", "tolist", "__bool__", "__format__"):
            self.called.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["conditional", "hierarchical", "vector quantized"])
def test_no_step_of_training_or_evaluation_waits_for_a_look_at_the_values(name: str) -> None:
    model = model_of(name)
    x, labels = inputs(model)
    with _Waits() as waits, torch.no_grad():
        _ = model(x, 2, labels).elbo
        _ = model.chunked_trace(x, 2, labels).elbo
        latents.latent_means(model, x, labels)
        latents.inferred(model, x, labels)
    assert waits.called == []
    with _Waits() as waits:
        model.latent_means(x, labels)
    assert "aminmax" in waits.called


def test_autocast_decodes_latents_of_its_own_type() -> None:
    model = model_of("posterior diagonal_normal")
    with torch.autocast("cpu", torch.bfloat16):
        assert model.mean_images(torch.zeros(2, 4, dtype=torch.bfloat16)).shape == (2, 1, 8, 8)


def test_an_unknown_path_is_refused_with_the_known_ones() -> None:
    x = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match="path=round is unknown: choose path=linear or"):
        model_of("posterior diagonal_normal").interpolate(x, x, 2, path="round")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "labels are missing: this model needs a class for each image, from 0 to 9"),
        (torch.tensor([1]), r"labels of torch.int64 and shape \(1,\): for 2 images"),
        (torch.tensor([1.0, 2.0]), "labels of torch.float32"),
        (torch.tensor([1, 10]), "class 10 does not exist: they are 0 to 9"),
        (np.array([1, 2]), "labels must be a torch.Tensor and not a ndarray"),
    ],
)
def test_what_is_not_a_class_for_each_image_is_refused(labels: Any, message: str) -> None:
    model = model_of("conditional")
    x = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match=message):
        model.reconstruct(x, labels)
    with pytest.raises(ValueError, match=message):
        model.log_likelihood(x, 2, labels)
    with pytest.raises(ValueError, match=message):
        model.interpolate(x, x, 2, labels_a=torch.tensor([0, 1]), labels_b=labels)
    for call in (model.encode, model.latent_means):
        with pytest.raises(ValueError, match=message):
            call(x, labels)
    with pytest.raises(ValueError, match=message):
        model.mean_images(torch.zeros(2, 4), labels)
    if labels is not None:
        with pytest.raises(ValueError, match=message):
            model.sample(2, labels)
    if "class 10" not in message:
        for step in (model, model.infer):
            with pytest.raises(ValueError, match=message):
                step(x, 1, labels)
        with pytest.raises(ValueError, match=message):
            model.predict([torch.zeros(1, 2, 4)], labels)


def test_weights_of_classes_have_one_for_each_class() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3\): for 2 images they must be floats"):
        model_of("conditional").mean_images(torch.zeros(2, 4), torch.ones(2, 3))


def test_numbers_out_of_range_and_unequal_ends_are_refused() -> None:
    model = model_of("posterior diagonal_normal")
    x = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match="num_images=0 is out of range"):
        model.sample(0)
    with pytest.raises(ValueError, match="num_samples=0 is out of range"):
        model.log_likelihood(x, 0)
    with pytest.raises(ValueError, match="steps=1 is out of range"):
        model.interpolate(x, x, 1)
    with pytest.raises(ValueError, match="2 images cannot be paired with 1: give as many"):
        model.interpolate(x, x[:1], 2)
