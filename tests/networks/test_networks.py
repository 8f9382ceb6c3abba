"""Networks of every kind: shapes, outputs, and what they refuse."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from tiny import composed_model, options
from vae_lightning.config import instantiate
from vae_lightning.distributions.heads import MapHead, pixel_head
from vae_lightning.networks import MLPDecoder, MLPEncoder
from vae_lightning.networks.conv import ConvDecoder, ConvEncoder
from vae_lightning.networks.layers import BatchNorm, activated
from vae_lightning.networks.resnet import ResidualBlock, ResNetDecoder, ResNetEncoder
from vae_lightning.objectives import ELBO
from vae_lightning.objectives.schedules import Constant

SHAPES = [(channels, size, size) for channels in (1, 3) for size in (4, 7, 8, 28, 32, 33)]
SHAPES += [(2, 5, 8), (1, 28, 9)]
OF_MAPS = ["conv", "resnet"]


def an_encoder(kind: str, shape: Sequence[int], **options: Any) -> Any:
    kwargs = {"channels": [4, 6], "activation": "relu", "input_range": [0, 1], **options}
    if kind == "conv":
        return ConvEncoder(shape, **kwargs)
    return ResNetEncoder(shape, **{"blocks": 1, "norm_groups": None, **kwargs})


def a_decoder(
    kind: str, latent_dim: int | Sequence[int], shape: Sequence[int], **options: Any
) -> Any:
    kwargs = {"channels": [4, 6], "activation": "relu", **options}
    if kind == "conv":
        return ConvDecoder(latent_dim, shape, **kwargs)
    return ResNetDecoder(latent_dim, shape, **{"blocks": 1, "norm_groups": None, **kwargs})


# -- shapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", OF_MAPS)
def test_features_are_maps_of_a_quarter_of_the_image_in_a_row(kind: str, shape: Any) -> None:
    _, height, width = shape
    encoder = an_encoder(kind, shape)
    assert encoder.map_shape == (6, -(-height // 4), -(-width // 4))
    features = encoder(torch.rand(3, *shape))
    assert features.shape == (3, encoder.out_features)
    assert features.unflatten(1, encoder.map_shape).shape == (3, *encoder.map_shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", OF_MAPS)
@pytest.mark.parametrize("of_maps", [False, True])
def test_decoder_gives_maps_of_the_size_of_the_image(kind: str, shape: Any, of_maps: bool) -> None:
    _, height, width = shape
    latent = (5, -(-height // 4), -(-width // 4)) if of_maps else (5,)
    decoder = a_decoder(kind, latent if of_maps else 5, shape)
    assert decoder.out_features == (4, height, width)
    assert decoder(torch.randn(3, *latent)).shape == (3, 4, height, width)


@pytest.mark.parametrize("latent", [(5,), (5, 2, 2)])
@pytest.mark.parametrize("kind", ["mlp", *OF_MAPS])
def test_decoder_takes_latents_of_any_leading_dimensions(kind: str, latent: Any) -> None:
    torch.manual_seed(0)
    dim = 5 if len(latent) == 1 else latent
    if kind == "mlp":
        decoder: Any = MLPDecoder(dim, hidden=[7], activation="tanh", batch_norm=False)
        out: tuple[int, ...] = (decoder.out_features,)
    else:
        decoder = a_decoder(kind, dim, (1, 7, 8))
        out = decoder.out_features
    z = torch.randn(2, 3, *latent)
    maps = decoder(z)
    assert maps.shape == (2, 3, *out)
    torch.testing.assert_close(decoder(z[1, 2]), maps[1, 2])
    torch.testing.assert_close(decoder(z[:, 1]), maps[:, 1])


@pytest.mark.parametrize("kind", OF_MAPS)
def test_maps_keep_the_positions_of_the_pixels(kind: str) -> None:
    # Height and width swapped, or rows taken for columns, would train as well on square images.
    encoder = an_encoder(kind, (1, 32, 8))
    x = torch.zeros(1, 1, 32, 8)
    corner = x.clone()
    corner[..., 31, 0] = 1.0
    change = (encoder(corner) - encoder(x)).unflatten(1, encoder.map_shape)[0].abs().sum(0)
    assert change.shape == (8, 2)
    assert change[7, 0] > 0
    assert (change[:4] == 0).all()


# -- in a model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize(
    ("encoder", "decoder"), list(product(options("model/encoder"), options("model/decoder")))
)
def test_every_encoder_goes_with_every_decoder(encoder: str, decoder: str, labels: bool) -> None:
    torch.manual_seed(0)
    overrides = [f"model/encoder={encoder}", f"model/decoder={decoder}", "model.latent_dim=3"]
    overrides += ["data=digits", f"model.initialization={'glorot_uniform' if labels else 'torch'}"]
    for part, name in (("encoder", encoder), ("decoder", decoder)):
        if name != "mlp":
            overrides.append(f"model.{part}.channels=[8, 16]")
    model = composed_model(f"model={'conditional' if labels else 'vae'}", *overrides)
    x = torch.rand(4, *model.image_shape)
    given = model.each_class_in_turn(4, x.device)
    trace = model(x, 2, given)
    assert trace.elbo.shape == (2, 4)
    loss, _ = ELBO(num_samples=2, beta=1.0, schedule=Constant(), free_bits=0.0)(trace, 0)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
    assert model.sample(3).shape == (3, *model.image_shape)
    assert model.reconstruct(x, given).shape == x.shape


@pytest.mark.parametrize("kind", OF_MAPS)
def test_glorot_weights_of_convolutions_have_no_bias_and_their_variance(kind: str) -> None:
    model = composed_model(
        f"model/encoder={kind}", f"model/decoder={kind}", "model.initialization=glorot_uniform"
    )
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(layers) >= 4
    for layer in layers:
        assert layer.bias is not None
        assert (layer.bias == 0).all()
        fans = (layer.in_channels + layer.out_channels) * layer.weight[0, 0].numel()
        assert layer.weight.abs().max().item() == pytest.approx((6 / fans) ** 0.5, rel=0.03)


# -- layers against formulas ----------------------------------------------------------------------


def test_gated_layer_is_a_linear_layer_times_the_sigmoid_of_another() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(*activated(partial(nn.Linear, 5), 3, "gated", dim=-1)).double()
    linear = layer[0]
    assert isinstance(linear, nn.Linear)
    x = torch.randn(7, 5).double()
    h, g = x @ linear.weight.T[:, :3], x @ linear.weight.T[:, 3:]
    h, g = h + linear.bias[:3], g + linear.bias[3:]
    torch.testing.assert_close(layer(x), h / (1 + torch.exp(-g)))


def test_gated_networks_have_the_configured_widths() -> None:
    encoder = MLPEncoder(
        (1, 4, 4), hidden=[7, 5], activation="gated", batch_norm=False, input_range=[0, 1]
    )
    decoder = MLPDecoder(2, hidden=[5, 7], activation="gated", batch_norm=False)
    assert encoder(torch.rand(3, 1, 4, 4)).shape == (3, encoder.out_features) == (3, 5)
    assert decoder(torch.randn(3, 2)).shape == (3, decoder.out_features) == (3, 7)
    maps = ConvEncoder((1, 8, 8), channels=[4, 6], activation="gated", input_range=[0, 1])
    assert maps(torch.rand(3, 1, 8, 8)).shape == (3, maps.out_features) == (3, 24)
    pixels = ConvDecoder(2, (1, 8, 8), channels=[4, 6], activation="gated")
    assert pixels(torch.randn(3, 2)).shape == (3, *pixels.out_features) == (3, 4, 8, 8)


def test_batch_norm_takes_the_batch_s_mean_and_scale_from_what_each_hidden_layer_computes() -> None:
    torch.manual_seed(0)
    decoder = MLPDecoder(2, hidden=[5, 7], activation="tanh", batch_norm=True)
    h = torch.randn(2, 8, 2)  # samples and images alike are rows
    expected = h.flatten(0, 1)
    for linear in (decoder.layers[0], decoder.layers[3]):
        assert isinstance(linear, nn.Linear)
        expected = expected @ linear.weight.T
        variance = expected.var(0, correction=0)
        expected = ((expected - expected.mean(0)) / (variance + 1e-5).sqrt()).tanh()
    torch.testing.assert_close(decoder(h), expected.unflatten(0, (2, 8)))
    gated = MLPEncoder((1, 2, 2), [3], "gated", batch_norm=True, input_range=[0, 1])
    assert gated(torch.rand(4, 1, 2, 2)).shape == (4, 3)


def test_batch_norm_of_a_single_image_is_by_the_running_averages() -> None:
    torch.manual_seed(0)
    norm = BatchNorm(3)
    for _ in range(200):
        norm(2 * torch.randn(50, 3) + 1)
    row = torch.randn(1, 3)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    alone = norm(row)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    torch.testing.assert_close(alone, norm.eval()(row))
    torch.testing.assert_close(alone, (row - 1) / 2, atol=0.2, rtol=0)


@pytest.mark.parametrize("norm_groups", [None, 2])
def test_residual_block_adds_to_its_unchanged_input(norm_groups: int | None) -> None:
    torch.manual_seed(0)
    block = ResidualBlock(4, "relu", norm_groups)
    x = torch.randn(2, 4, 3, 3)
    before = x.clone()
    y = block(x)
    torch.testing.assert_close(x, before, rtol=0, atol=0)
    torch.testing.assert_close(y - before, block.layers(before))
    for convolution in block.layers:
        if isinstance(convolution, nn.Conv2d):
            nn.init.zeros_(convolution.weight)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
    torch.testing.assert_close(block(x), before, rtol=0, atol=0)


def test_map_head_is_a_dense_layer_whose_weights_all_pixels_share() -> None:
    torch.manual_seed(0)
    head = pixel_head((3, 2, 4), (2, 2, 4), numbers=2)
    assert isinstance(head, MapHead)
    nn.init.normal_(head.bias)
    maps = torch.randn(5, 3, 2, 4)
    dense = torch.zeros(2 * 2 * 8, 3 * 8)
    for number, feature, pixel in product(range(4), range(3), range(8)):
        dense[number * 8 + pixel, feature * 8 + pixel] = head.shared.weight[number, feature]
    torch.testing.assert_close(head(maps), maps.flatten(1) @ dense.T + head.bias)
    # Where channels lie innermost in memory, too.
    same = maps.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(head(same), head(maps))


@pytest.mark.parametrize("kind", OF_MAPS)
def test_first_layer_takes_pixels_in_the_input_range(kind: str) -> None:
    shape, taken = (1, 8, 8), []
    torch.manual_seed(0)
    encoder = an_encoder(kind, shape, input_range=[-1, 1])
    encoder.layers[0].register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    x = torch.rand(2, *shape)
    encoder(x)
    torch.testing.assert_close(taken[0], 2 * x - 1)


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OF_MAPS)
@pytest.mark.parametrize(
    ("size", "channels", "message"),
    [
        (4, [2, 2, 2], r"channels=\[2, 2, 2\] has 3 halvings, but an image of 4 x 4 allows 2"),
        (28, [2] * 6, "has 6 halvings, but an image of 28 x 28 allows 5"),
        (8, [], r"channels=\[\] must have one number"),
        (8, [2, 0], r"channels=\[2, 0\] is out of range"),
    ],
)
def test_sizes_that_cannot_be_halved_so_often_are_refused(
    kind: str, size: int, channels: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        an_encoder(kind, (1, size, size), channels=channels)
    with pytest.raises(ValueError, match=message):
        a_decoder(kind, 3, (1, size, size), channels=channels)


@pytest.mark.parametrize("kind", OF_MAPS)
def test_as_many_halvings_as_an_image_allows_are_not_refused(kind: str) -> None:
    options = (
        {"channels": [2] * 3, "norm_groups": None} if kind == "resnet" else {"channels": [2] * 3}
    )
    assert an_encoder(kind, (1, 7, 5), **options).map_shape == (2, 1, 1)
    assert a_decoder(kind, 3, (1, 7, 5), **options)(torch.randn(2, 3)).shape == (2, 2, 7, 5)


@pytest.mark.parametrize("kind", OF_MAPS)
def test_latent_maps_of_another_size_are_refused(kind: str) -> None:
    with pytest.raises(
        ValueError, match="latent maps of 4 x 4 do not fit a decoder whose smallest maps are 2 x 2"
    ):
        a_decoder(kind, (3, 4, 4), (1, 8, 8))


def test_groups_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="norm_groups=4 does not divide a width of 6"):
        an_encoder("resnet", (1, 8, 8), norm_groups=4)
    with pytest.raises(ValueError, match="norm_groups=0 is out of range"):
        a_decoder("resnet", 3, (1, 8, 8), norm_groups=0)


def test_a_residual_network_has_no_gates() -> None:
    node = {
        "_target_": "vae_lightning.networks.resnet.ResNetEncoder",
        "image_shape": [1, 8, 8],
        "channels": [4],
        "blocks": 1,
        "activation": "gated",
        "norm_groups": 2,
        "input_range": [0, 1],
    }
    with pytest.raises(Exception, match="activation=gated should be one of elu"):
        instantiate(node, "encoder")


def test_dense_networks_without_hidden_layers_are_those_of_a_linear_vae() -> None:
    # Not refused: with one linear layer on each side the best VAE is known in closed form, that of
    # probabilistic PCA (Lucas et al., "Don't Blame the ELBO!", 2019).
    dense: dict[str, Any] = {"hidden": [], "activation": "relu", "batch_norm": False}
    encoder = MLPEncoder((1, 2, 3), input_range=(0, 1), **dense)
    decoder = MLPDecoder(4, **dense)
    x, z = torch.rand(5, 1, 2, 3), torch.randn(7, 5, 4)
    assert torch.equal(encoder(x), x.flatten(1))
    assert torch.equal(decoder(z), z)
    model = composed_model("data=digits", "model.encoder.hidden=[]", "model.decoder.hidden=[]")
    linear = [part for part in model.modules() if isinstance(part, torch.nn.Linear)]
    sizes = [(part.in_features, part.out_features) for part in linear]
    pixels = math.prod(model.image_shape)
    assert sizes == [(pixels, 2 * model.latent_dim), (model.latent_dim, pixels)]


@pytest.mark.parametrize(
    ("kind", "activation"),
    [("mlp", "relu"), ("mlp", "gated"), ("conv", "relu"), ("conv", "gated"), ("resnet", "silu")],
)
def test_four_channels_of_47_x_33_pixels_come_back_in_their_shape(
    kind: str, activation: str
) -> None:
    shape = (4, 47, 33)
    overrides = [f"model/{part}={kind}" for part in ("encoder", "decoder")]
    overrides += [f"model.{part}.activation={activation}" for part in ("encoder", "decoder")]
    model = composed_model(f"model.image_shape={list(shape)}", *overrides)
    images = torch.rand(3, *shape)
    assert model.reconstruct(images).shape == (3, *shape)
    assert model(images, 2).elbo.shape == (2, 3)
