"""Encoder and decoder of residual blocks."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from vae_lightning.networks.conv import doubling, halving
from vae_lightning.networks.layers import Elementwise, elementwise
from vae_lightning.networks.maps import MapDecoder, MapEncoder, from_latents, halved_sizes
from vae_lightning.utils.checks import at_least


class ResidualBlock(nn.Module):
    r"""A pre-activation residual block of two convolutions.

    .. math:: x + W_2 f(n_2(W_1 f(n_1(x))))

    Args:
        channels: width of the maps.
        activation: name of the function f.
        norm_groups: number of groups of the group normalisation n; None for no normalisation.

    Shape:
        maps (B, channels, H, W); returns the same.

    Example:
        >>> import torch
        >>> ResidualBlock(16, "silu", norm_groups=4)(torch.randn(8, 16, 7, 7)).shape
        torch.Size([8, 16, 7, 7])

    References:
        He et al., "Identity Mappings in Deep Residual Networks", 2016,
        https://arxiv.org/abs/1603.05027.
        Wu and He, "Group Normalization", 2018, https://arxiv.org/abs/1803.08494.
    """

    def __init__(self, channels: int, activation: Elementwise, norm_groups: int | None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += pre_activation(channels, activation, norm_groups)
            layers.append(nn.Conv2d(channels, channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def pre_activation(
    channels: int, activation: Elementwise, norm_groups: int | None
) -> list[nn.Module]:
    """The layers before a convolution: group normalisation, if any, and activation.

    Raises:
        ValueError: `norm_groups` below 1, or not a divisor of `channels`.
    """
    # Not in place: the skip connection still needs the input.
    function = elementwise(activation)
    if norm_groups is None:
        return [function]
    at_least("norm_groups", norm_groups, 1)
    if channels % norm_groups:
        raise ValueError(f"norm_groups={norm_groups} does not divide a width of {channels}")
    return [nn.GroupNorm(norm_groups, channels), function]


class ResNetEncoder(MapEncoder):
    """Strided convolutions, each of which halves the height and the width, and residual blocks.

    Args:
        image_shape: (C, H, W).
        channels: width of the maps after each halving, in order.
        blocks: number of residual blocks after each halving.
        activation: name of the function in the blocks and after the last of them.
        norm_groups: number of groups of the group normalisation before each activation; None for
            no normalisation.
        input_range: the range that pixels in [0, 1] are mapped to before the first layer.

    Shape:
        images (B, C, H, W) in [0, 1]; returns (B, F), maps (E, h, w) flattened.

    Raises:
        ValueError: a width or a number of blocks below 1, more halvings than the image allows,
            groups that do not divide a width, or a range that is not two different numbers.

    Example:
        >>> import torch
        >>> encoder = ResNetEncoder(
        ...     (1, 28, 28), [32, 64], 1, activation="relu", norm_groups=8, input_range=(0, 1)
        ... )
        >>> encoder(torch.rand(8, 1, 28, 28)).shape
        torch.Size([8, 3136])
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
        layers += pre_activation(channels[-1], activation, norm_groups)
        super().__init__(input_range, layers, (channels[-1], *sizes[-1]))


class ResNetDecoder(MapDecoder):
    """Residual blocks and transposed convolutions, each of which doubles the height and the width.

    Args:
        latent_dim: D, number of latent dimensions; or (E, h, w) for latent maps.
        image_shape: (C, H, W).
        channels: width of the maps before each doubling, in the encoder's order: the last entry is
            the width of the smallest maps, the first that of the output.
        blocks: number of residual blocks before each doubling.
        activation: name of the function before each convolution.
        norm_groups: number of groups of the group normalisation before each activation; None for
            no normalisation.

    Shape:
        z (..., D) or (..., E, h, w); returns (..., F, H, W).

    Raises:
        ValueError: a width or a number of blocks below 1, more doublings than the image allows
            halvings, groups that do not divide a width, or latent maps of another size than the
            smallest maps.

    Example:
        >>> import torch
        >>> decoder = ResNetDecoder(
        ...     20, (1, 28, 28), [32, 64], 1, activation="relu", norm_groups=8
        ... )
        >>> decoder(torch.randn(5, 8, 20)).shape
        torch.Size([5, 8, 32, 28, 28])
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
            layers += pre_activation(widths[level], activation, norm_groups)
            layers.append(doubling(widths[level], sizes[level - 1])(widths[level - 1]))
        layers += pre_activation(channels[0], activation, norm_groups)
        super().__init__(latent_dim, layers, (channels[0], *sizes[0]))
