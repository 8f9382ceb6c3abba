"""Encoder and decoder of residual blocks."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from vae_lightning.networks.conv import doubling, halving
from vae_lightning.networks.layers import Elementwise, elementwise
from vae_lightning.networks.maps import MapDecoder, MapEncoder, from_latents, halved_sizes
from vae_lightning.utils.checks import at_least


class ResidualBlock(nn.Module):
    r"""Two convolutions beside the identity, each after a normalisation and an activation.

    .. math:: x + W_2 f(n_2(W_1 f(n_1(x))))

    Args:
        channels: of the maps.
        activation: name of the function f.
        norm_groups: groups of channels that n normalises; null for no normalisation.

    Shape:
        maps (B, channels, H, W); returns the same.

    References:
        He et al., "Identity Mappings in Deep Residual Networks", 2016.
        Wu and He, "Group Normalization", 2018.
    """

    def __init__(self, channels: int, activation: Elementwise, norm_groups: int | None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += prepared(channels, activation, norm_groups)
            layers.append(nn.Conv2d(channels, channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def prepared(channels: int, activation: Elementwise, norm_groups: int | None) -> list[nn.Module]:
    """What stands before a convolution: normalisation, if any, and activation.

    Raises:
        ValueError: channels that cannot be divided into so many groups.
    """
    # Not in place: the identity beside it still needs its input.
    function = elementwise(activation)
    if norm_groups is None:
        return [function]
    at_least("norm_groups", norm_groups, 1)
    if channels % norm_groups:
        raise ValueError(f"norm_groups={norm_groups} does not divide a width of {channels}")
    return [nn.GroupNorm(norm_groups, channels), function]


class ResNetEncoder(MapEncoder):
    """Residual blocks on maps of half the image's size, and half of that.

    Args:
        image_shape: (C, H, W).
        channels: of the maps after each halving, from the image inwards.
        blocks: residual blocks after each halving.
        activation: name of the function before each convolution but the first.
        norm_groups: groups of channels that are normalised before each activation; null for none.
        input_range: what the pixels, in [0, 1], are mapped to before the first layer.

    Raises:
        ValueError: a width or a number of blocks below 1, more halvings than the image has, groups
            that do not divide a width, or a range that is not two different numbers.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        channels: Sequence[int],
        blocks: int,
        activation: Elementwise,
        norm_groups: int | None,
        input_range: Sequence[float],
    ) -> None:
        sizes = halved_sizes(image_shape, channels)
        at_least("blocks", blocks, 1)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise([image_shape[0], *channels]):
            layers.append(halving(fan_in)(fan_out))
            layers += [ResidualBlock(fan_out, activation, norm_groups) for _ in range(blocks)]
        layers += prepared(channels[-1], activation, norm_groups)
        super().__init__(input_range, layers, (channels[-1], *sizes[-1]))


class ResNetDecoder(MapDecoder):
    """Residual blocks on maps that grow to the image's size.

    Args:
        latent_dim: D, number of latent dimensions; or (E, h, w) for latent maps.
        image_shape: (C, H, W).
        channels: of the maps before each doubling, from the image inwards: the order of the
            encoder. The first is also the width of the maps that the likelihood gets.
        blocks: residual blocks before each doubling.
        activation: name of the function before each convolution.
        norm_groups: groups of channels that are normalised before each activation; null for none.

    Raises:
        ValueError: a width or a number of blocks below 1, more doublings than the image has
            halvings, groups that do not divide a width, or latent maps of another size than the
            smallest maps.
    """

    def __init__(
        self,
        latent_dim: int | Sequence[int],
        image_shape: Sequence[int],
        channels: Sequence[int],
        blocks: int,
        activation: Elementwise,
        norm_groups: int | None,
    ) -> None:
        sizes = halved_sizes(image_shape, channels)
        at_least("blocks", blocks, 1)
        widths = [channels[0], *channels]  # of the maps of each size
        layers: list[nn.Module] = [from_latents(latent_dim, sizes[-1])(channels[-1])]
        for level in range(len(channels), 0, -1):
            layers += [ResidualBlock(widths[level], activation, norm_groups) for _ in range(blocks)]
            layers += prepared(widths[level], activation, norm_groups)
            layers.append(doubling(widths[level], sizes[level - 1])(widths[level - 1]))
        layers += prepared(channels[0], activation, norm_groups)
        super().__init__(latent_dim, layers, (channels[0], *sizes[0]))
