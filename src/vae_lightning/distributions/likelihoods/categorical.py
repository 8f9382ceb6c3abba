"""Pixels with 256 grey values and a softmax over them."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.distributions.likelihoods.numerics import (
    GREY_VALUES,
    bisect,
    grey_value,
    pixel,
)
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.precision import at_least_float32

# Number of pixels whose 256 logits are computed at once. Blocks that fit into the caches of a CPU
# are three times as fast, and take little memory when no gradient is needed.
_BLOCK = 4_096


class Categorical(Likelihood):
    r"""Independent categorical pixels over 256 grey values.

    .. math:: \log p(x|z) = \sum_i \log \mathrm{softmax}(W h_i(z) + b)_{255 x_i}

    The decoder gives a few features h for each pixel and channel; a linear layer with the same
    weights for all pixels maps them to 256 logits. The distribution over grey values can have any
    shape. Pixels between grey values are rounded to the nearest.

    The softmax ignores the order of grey values. To start with an order, the initial weights of the
    first feature increase linearly from black to white.

    Args:
        width: number of features h of each pixel and channel.

    Raises:
        ValueError: `width` below 1.

    References:
        van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016.
        https://arxiv.org/abs/1601.06759

    Example:
        >>> import torch
        >>> likelihood = Categorical(400, (1, 28, 28), start_at_mean=False, width=16)
        >>> p = likelihood(torch.randn(8, 400))
        >>> p.log_prob(torch.rand(8, 1, 28, 28)).shape
        torch.Size([8])
    """

    pixel_type = "discrete"

    def __init__(
        self,
        in_features: int | Sequence[int],
        image_shape: Sequence[int],
        start_at_mean: bool,
        width: int,
    ) -> None:
        at_least("width", width, 1)
        super().__init__(in_features, image_shape, start_at_mean, width)
        self.width = width
        # Not an nn.Linear: the model's initialisation would overwrite the order of grey values.
        weight = torch.empty(GREY_VALUES, width).uniform_(-1, 1) / math.sqrt(width)
        weight[:, 0] = torch.linspace(-8, 8, GREY_VALUES)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(GREY_VALUES))

    def bias_of(self, mean: Tensor) -> Tensor:
        # The bias of a pixel that is always off is infinite.
        mean = mean.clamp(0.01, 0.99)
        others = mean.new_zeros(self.width - 1, len(mean))

        def mean_at(first: Tensor) -> Tensor:
            return self._image(torch.cat([first[None], others]).flatten()).mean.flatten()

        # The mean increases with the first feature, since its weights increase with the grey value.
        # At 7 it is within 0.01 of white.
        limit = torch.full_like(mean, 7.0)
        first = bisect(mean_at, mean, -limit, limit)
        return torch.cat([first[None], others]).flatten()

    def forward(self, features: Tensor) -> Distribution:
        return self._image(self.head(features))

    def _image(self, numbers: Tensor) -> "_CategoricalImage":
        pixels = numbers.unflatten(-1, (self.width, -1)).transpose(-1, -2)
        return _CategoricalImage(pixels, self.weight, self.bias, self.image_shape)


class _CategoricalImage(Distribution):
    """An image of independent categorical pixels.

    Logits are computed in blocks: all at once they take the memory of 256 images for each image.
    """

    has_rsample = False
    arg_constraints: ClassVar = {}

    def __init__(
        self, pixels: Tensor, weight: Tensor, bias: Tensor, image_shape: Sequence[int]
    ) -> None:
        self.pixels = pixels  # (..., P, width)
        self.weight = weight
        self.bias = bias
        super().__init__(pixels.shape[:-2], torch.Size(image_shape), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Mean of each pixel, (..., C, H, W)."""
        grey = torch.arange(GREY_VALUES, device=self.pixels.device)
        means = [logits.softmax(-1) @ pixel(grey.to(logits)) for logits in self._logits()]
        return torch.cat(means).reshape(self.batch_shape + self.event_shape)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw images of 256 grey values in [0, 1], (*sample_shape, ..., C, H, W)."""
        shape = torch.Size(sample_shape)
        drawn = [
            torch.multinomial(logits.softmax(-1), shape.numel(), replacement=True)
            for logits in self._logits()
        ]
        grey = torch.cat(drawn).T.to(self.pixels.dtype)  # (samples, pixels of the batch)
        return pixel(grey).reshape(shape + self.batch_shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of images (..., C, H, W) in [0, 1], broadcast against the batch."""
        grey = grey_value(value.flatten(-3)).long()  # (..., P)
        shape = torch.broadcast_shapes(grey.shape, self.pixels.shape[:-1])
        if shape == self.pixels.shape[:-1]:
            chosen = grey.expand(shape).flatten().split(_BLOCK)
            terms = [
                -F.cross_entropy(logits, index, reduction="none")
                for logits, index in zip(self._logits(), chosen, strict=True)
            ]
            return torch.cat(terms).reshape(shape).sum(-1)
        # More images than distributions: compute the softmax once for each distribution.
        logits = torch.cat(list(self._logits())).reshape(*self.pixels.shape[:-1], -1)
        terms_of_all = logits.log_softmax(-1).expand(*shape, -1)
        return terms_of_all.gather(-1, grey.expand(shape).unsqueeze(-1)).squeeze(-1).sum(-1)

    def _logits(self) -> Iterator[Tensor]:
        """The logits of all pixels of the batch, in blocks of (pixels, 256)."""
        rows = self.pixels.reshape(-1, self.pixels.shape[-1])
        # An exported graph has a fixed number of blocks.
        for block in (rows,) if torch.compiler.is_exporting() else rows.split(_BLOCK):
            yield at_least_float32(F.linear(block, self.weight, self.bias))
