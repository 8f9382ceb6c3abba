"""Convolutional encoder and decoder."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from torch import nn

from vae_lightning.networks.layers import Activation, activated
from vae_lightning.networks.maps import MapDecoder, MapEncoder, Size, from_latents, halved_sizes


def halving(fan_in: int) -> partial[nn.Conv2d]:
    """Makes, from its width, a convolution to maps of half the size, odd sizes rounded up."""
    return partial(nn.Conv2d, fan_in, kernel_size=3, stride=2, padding=1)


def doubling(fan_in: int, size: Size) -> partial[nn.ConvTranspose2d]:
    """Makes, from its width, a transposed convolution to maps of a size, from `halving`'s."""
    # A kernel of 4 doubles a size and counts each place as often; one of 3 gives one place less.
    kernel = (4 - size[0] % 2, 4 - size[1] % 2)
    return partial(nn.ConvTranspose2d, fan_in, kernel_size=kernel, stride=2, padding=1)


class ConvEncoder(MapEncoder):
    """Convolutions from an image to maps of half the size, and half of that.

    Args:
        image_shape: (C, H, W).
        channels: of the maps after each halving, from the image inwards.
        activation: name of the function after each convolution, or `gated`.
        input_range: what the pixels, in [0, 1], are mapped to before the first layer.

    Raises:
        ValueError: a width below 1, more halvings than the image has, or a range that is not two
            different numbers.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        channels: Sequence[int],
        activation: Activation,
        input_range: Sequence[float],
    ) -> None:
        sizes = halved_sizes(image_shape, channels)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise([image_shape[0], *channels]):
            layers += activated(halving(fan_in), fan_out, activation, dim=1)
        super().__init__(input_range, layers, (channels[-1], *sizes[-1]))


class ConvDecoder(MapDecoder):
    """Transposed convolutions from latents to maps of the image's size.

    Args:
        latent_dim: D, number of latent dimensions; or (E, h, w) for latent maps.
        image_shape: (C, H, W).
        channels: of the maps before each doubling, from the image inwards: the order of the
            encoder. The first is also the width of the maps that the likelihood gets.
        activation: name of the function after each layer, or `gated`.

    Raises:
        ValueError: a width below 1, more doublings than the image has halvings, or latent maps of
            another size than the smallest maps.
    """

    def __init__(
        self,
        latent_dim: int | Sequence[int],
        image_shape: Sequence[int],
        channels: Sequence[int],
        activation: Activation,
    ) -> None:
        sizes = halved_sizes(image_shape, channels)
        widths = [channels[0], *channels]  # of the maps of each size
        layers = activated(from_latents(latent_dim, sizes[-1]), channels[-1], activation, dim=1)
        for level in range(len(channels), 0, -1):
            up = doubling(widths[level], sizes[level - 1])
            layers += activated(up, widths[level - 1], activation, dim=1)
        super().__init__(latent_dim, layers, (channels[0], *sizes[0]))
