"""Convolutional encoder and decoder."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from torch import nn

from vae_lightning.networks.layers import Activation, activated
from vae_lightning.networks.maps import MapDecoder, MapEncoder, Size, from_latents, halved_sizes


def halving(fan_in: int) -> partial[nn.Conv2d]:
    """A factory, given the width, of a convolution that halves maps, odd sizes rounded up."""
    return partial(nn.Conv2d, fan_in, kernel_size=3, stride=2, padding=1)


def doubling(fan_in: int, size: Size) -> partial[nn.ConvTranspose2d]:
    """A factory, given the width, of a transposed convolution that undoes `halving`.

    Args:
        fan_in: width of its input.
        size: (h, w) of its output.
    """
    # A kernel of 4 doubles a size; one of 3 gives one less, for odd sizes.
    kernel = (4 - size[0] % 2, 4 - size[1] % 2)
    return partial(nn.ConvTranspose2d, fan_in, kernel_size=kernel, stride=2, padding=1)


class ConvEncoder(MapEncoder):
    """Strided convolutions, each of which halves the height and the width.

    Args:
        image_shape: (C, H, W).
        channels: width of the maps after each halving, in order.
        activation: name of the function after each convolution, or `gated`.
        input_range: the range that pixels in [0, 1] are mapped to before the first layer.

    Shape:
        images (B, C, H, W) in [0, 1]; returns (B, F), maps (E, h, w) flattened.

    Raises:
        ValueError: a width below 1, more halvings than the image allows, or a range that is not two
            different numbers.

    Example:
        >>> import torch
        >>> encoder = ConvEncoder((1, 28, 28), [32, 64], activation="relu", input_range=(0, 1))
        >>> encoder.map_shape
        (64, 7, 7)
        >>> encoder(torch.rand(8, 1, 28, 28)).shape
        torch.Size([8, 3136])
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
    """Transposed convolutions, each of which doubles the height and the width.

    Args:
        latent_dim: D, number of latent dimensions; or (E, h, w) for latent maps.
        image_shape: (C, H, W).
        channels: width of the maps before each doubling, in the encoder's order: the last entry is
            the width of the smallest maps, the first that of the output.
        activation: name of the function after each layer, or `gated`.

    Shape:
        z (..., D) or (..., E, h, w); returns (..., F, H, W).

    Raises:
        ValueError: a width below 1, more doublings than the image allows halvings, or latent maps
            of another size than the smallest maps.

    Example:
        >>> import torch
        >>> decoder = ConvDecoder(20, (1, 28, 28), [32, 64], activation="relu")
        >>> decoder(torch.randn(5, 8, 20)).shape
        torch.Size([5, 8, 32, 28, 28])
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
