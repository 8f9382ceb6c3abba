"""The VAE as a composition: every option, every shape, and what is refused."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tiny import composed_model, head, options, tiny_vae
from vae_lightning.distributions.likelihoods.normal import Normal as NormalLikelihood
from vae_lightning.models import VAE
from vae_lightning.networks import MLPDecoder, MLPEncoder
from vae_lightning.objectives import ELBO
from vae_lightning.objectives.schedules import Constant

# The distributions and objectives are combined in test_combinations.
NETWORKS: list[tuple[str, ...]] = [
    (f"model/{group}={name}",)
    for group in ("encoder", "decoder")
    for name in options(f"model/{group}")
]


def some_images(model: VAE, count: int = 4) -> Tensor:
    return torch.rand(count, *model.image_shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("overrides", NETWORKS, ids=" ".join)
def test_gradient_step_reaches_every_parameter_of_every_network(
    overrides: tuple[str, ...],
) -> None:
    torch.manual_seed(0)
    model = composed_model(*overrides, "model.latent_dim=3")
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x = some_images(model)
    loss, _ = ELBO(num_samples=2, beta=1.0, schedule=Constant(), free_bits=0.0)(model(x, 2), 0)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert (parameter != before[name]).any(), name
        assert parameter.isfinite().all(), name


def test_there_are_options_to_combine() -> None:
    # The test above would pass over an empty list.
    assert len(NETWORKS) >= 2


@pytest.mark.parametrize("num_samples", [1, 3])
def test_trace_has_samples_first_and_images_second(num_samples: int) -> None:
    model = tiny_vae(latent_dim=5)
    x = some_images(model)
    trace = model(x, num_samples)
    (latent,) = trace.latents
    assert trace.x is x
    assert trace.auxiliary == {}
    assert latent.z.shape == (num_samples, 4, 5)
    assert trace.likelihood.batch_shape == (num_samples, 4)
    assert trace.likelihood.event_shape == (1, 4, 4)
    per_sample = [latent.log_q, latent.log_p, latent.rate, trace.rate, trace.distortion]
    per_sample += [trace.log_likelihood, trace.log_weight, trace.elbo]
    assert [value.shape for value in per_sample] == [(num_samples, 4)] * 8


def test_samples_of_the_posterior_carry_gradients_and_differ() -> None:
    torch.manual_seed(0)
    model = tiny_vae()
    trace = model(some_images(model), 2)
    z = trace.latents[0].z
    assert z.requires_grad
    assert (z[0] != z[1]).all()
    # Each sample is scored with its own reconstruction.
    assert (trace.log_likelihood[0] != trace.log_likelihood[1]).all()


def test_images_do_not_affect_each_other() -> None:
    model = tiny_vae()
    x = some_images(model)
    alone = model.encode(x[2:3])
    torch.testing.assert_close(alone.mean[0], model.encode(x).mean[2])
    torch.testing.assert_close(model.reconstruct(x)[1:2], model.reconstruct(x[1:2]))


@pytest.mark.parametrize("batch_shape", [(), (4,), (3, 4), (2, 3, 4)])
def test_decode_takes_latents_of_any_batch_shape(batch_shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = tiny_vae(latent_dim=5)
    z = torch.randn(*batch_shape, 5)
    likelihood = model.decode(z)
    assert likelihood.batch_shape == batch_shape
    assert likelihood.event_shape == (1, 4, 4)
    # The order is kept: the last one decodes to itself.
    last = model.decode(z.reshape(-1, 5)[-1:]).mean[0]
    torch.testing.assert_close(likelihood.mean.reshape(-1, 1, 4, 4)[-1], last)


def test_reconstructions_are_probabilities_of_the_posterior_mean() -> None:
    model = tiny_vae()
    x = some_images(model)
    pictures = model.reconstruct(x)
    assert pictures.shape == x.shape
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert not pictures.requires_grad
    # No noise: a picture of a model is the same each time.
    torch.testing.assert_close(pictures, model.reconstruct(x), rtol=0, atol=0)
    torch.testing.assert_close(pictures, model.decode(model.encode(x).mean).mean)


def test_samples_are_mean_images_of_latents_from_the_prior() -> None:
    model = tiny_vae()
    torch.manual_seed(0)
    pictures = model.sample(6)
    assert pictures.shape == (6, 1, 4, 4)
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert not pictures.requires_grad
    torch.manual_seed(0)
    torch.testing.assert_close(pictures, model.decode(torch.randn(6, 2)).mean)


@pytest.mark.parametrize("image_shape", [(1, 4, 4), (3, 2, 5)])
def test_images_may_have_any_channels_height_and_width(image_shape: tuple[int, ...]) -> None:
    model = tiny_vae(image_shape=image_shape)
    assert model.reconstruct(some_images(model)).shape == (4, *image_shape)
    assert model.sample(2).shape == (2, *image_shape)
    assert model(some_images(model), 1).elbo.shape == (1, 4)


def test_pixels_keep_their_positions_between_image_and_likelihood() -> None:
    # Rows and columns swapped on the way out would train as well, and show nonsense.
    model = tiny_vae(image_shape=(2, 2, 3), likelihood=partial(NormalLikelihood, scale=1.0))
    with torch.no_grad():
        head(model.likelihood).weight.zero_()
        head(model.likelihood).bias.copy_(torch.arange(12.0))
    picture = model.decode(torch.zeros(1, 2)).mean[0]
    assert picture[1, 1, 2] == 11
    assert picture[0, 1, 0] == 3
    assert picture[1, 0, 0] == 6


# -- networks -------------------------------------------------------------------------------------


def test_networks_without_hidden_layers_are_linear() -> None:
    model = tiny_vae(hidden=[], likelihood=partial(NormalLikelihood, scale=1.0))
    assert model.encoder.out_features == 16
    assert model.decoder.out_features == 2
    assert list(model.encoder.parameters()) == []
    x = some_images(model)
    halfway = model.encode(x[:1].lerp(x[1:2], 0.5)).mean
    torch.testing.assert_close(halfway, model.encode(x[:2]).mean.mean(0, keepdim=True))
    z = torch.tensor([[1.0, 2.0], [-3.0, 0.5]])
    ends = model.decode(z).mean
    torch.testing.assert_close(model.decode(z.mean(0, keepdim=True)).mean[0], ends.mean(0))


def test_hidden_layers_have_the_configured_widths_in_order() -> None:
    encoder = MLPEncoder(
        (1, 4, 4), hidden=[7, 5], activation="relu", batch_norm=False, input_range=[0, 1]
    )
    decoder = MLPDecoder(2, hidden=[5, 7], activation="tanh", batch_norm=False)
    assert linear_shapes(encoder) == [(16, 7), (7, 5)]
    assert linear_shapes(decoder) == [(2, 5), (5, 7)]
    assert (encoder.out_features, decoder.out_features) == (5, 7)
    # An activation after the last layer too: the heads are linear themselves.
    assert (encoder(torch.rand(50, 1, 4, 4)) >= 0).all()
    assert (decoder(100 * torch.randn(50, 2)).abs() <= 1).all()


def linear_shapes(network: nn.Module) -> list[tuple[int, int]]:
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return [(layer.in_features, layer.out_features) for layer in layers]


@pytest.mark.parametrize(
    ("input_range", "expected"),
    [((0, 1), [0.0, 0.25, 1.0]), ((-1, 1), [-1.0, -0.5, 1.0]), ((1, 0), [1.0, 0.75, 0.0])],
)
def test_first_layer_takes_pixels_in_the_input_range(
    input_range: Sequence[float], expected: list[float]
) -> None:
    # Without hidden layers the features are the mapped pixels themselves.
    encoder = MLPEncoder(
        (1, 1, 3), hidden=[], activation="relu", batch_norm=False, input_range=input_range
    )
    x = torch.tensor([0.0, 0.25, 1.0]).reshape(1, 1, 1, 3)
    assert encoder(x).tolist() == [expected]
    assert x.flatten().tolist() == [0.0, 0.25, 1.0]


def test_input_range_does_not_change_what_the_likelihood_scores() -> None:
    torch.manual_seed(0)
    model = tiny_vae(input_range=(-1, 1))
    x = some_images(model)
    trace = model(x, 1)
    on = trace.likelihood.mean[0].double()
    x64 = x.double()
    cross_entropy = -(x64 * on.log() + (1 - x64) * (1 - on).log()).sum((1, 2, 3))
    # Float32 sums over 16 pixels.
    torch.testing.assert_close(trace.distortion[0].double(), cross_entropy, rtol=1e-5, atol=0)


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_dim": 0}, "latent_dim=0 is out of range"),
        ({"latent_dim": -3}, "latent_dim=-3 is out of range"),
        ({"image_shape": (1, 0, 4)}, "is out of range"),
        ({"image_shape": (28, 28)}, "must be channels, height and width"),
        ({"image_shape": (1, 1, 4, 4)}, "must be channels, height and width"),
        ({"hidden": [8, 0]}, "hidden=.* is out of range"),
        ({"input_range": (0, 0)}, "input_range=.* must be two different numbers"),
        ({"input_range": (0, 1, 2)}, "input_range=.* must be two different numbers"),
        ({"likelihood": partial(NormalLikelihood, scale=0.0)}, "scale=0.0 is out of range"),
    ],
)
def test_model_refuses_sizes_that_make_no_model(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_vae(**arguments)


def test_decoder_refuses_a_layer_without_units() -> None:
    with pytest.raises(ValueError, match=r"hidden=\[3, 0\] is out of range"):
        MLPDecoder(2, hidden=[3, 0], activation="relu", batch_norm=False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_terms_of_a_trace_are_in_single_precision_at_least(dtype: torch.dtype) -> None:
    likelihood = partial(NormalLikelihood, scale=0.5)
    trace = tiny_vae(likelihood=likelihood).to(dtype)(torch.rand(5, 1, 4, 4, dtype=dtype), 3)
    (latent,) = trace.latents
    terms = (
        trace.log_likelihood, trace.distortion, trace.rate, trace.log_weight, trace.elbo,
        latent.log_q, latent.log_p,
    )  # fmt: skip
    assert {term.dtype for term in terms} == {torch.promote_types(dtype, torch.float32)}
