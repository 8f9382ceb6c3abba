"""Likelihoods: from the decoder's features to p(x|z).

Each owns the last linear layer, so that a decoder need not know how many numbers a pixel takes.
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.distributions import Normal as TorchNormal

from vae_lightning.checks import positive


class BernoulliImage(Distribution):
    """An image whose pixels are on independently of each other; its log-probability in few passes.

    Torch's Bernoulli takes one logarithm for each pixel, which is most of its cost. Here one does
    for up to `_PRODUCT` pixels, exact but for rounding.

    Args:
        logits: of the pixels, (..., P).
        image_shape: (C, H, W), P pixels in all.

    Shape:
        batch shape (...), event shape (C, H, W).
    """

    has_rsample = False
    arg_constraints: ClassVar = {}

    def __init__(self, logits: Tensor, image_shape: Sequence[int]) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-1], torch.Size(image_shape), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Probability that each pixel is on, (..., C, H, W)."""
        return torch.sigmoid(self.logits).unflatten(-1, self.event_shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw images of zeros and ones, (*sample_shape, ..., C, H, W)."""
        mean = self.mean.detach()
        return torch.bernoulli(mean.expand(*sample_shape, *mean.shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of images (..., C, H, W) in [0, 1], broadcast against the batch."""
        return _LogProbability.apply(self.logits, value.flatten(-3))


class _LogProbability(torch.autograd.Function):
    r"""\sum_i x_i l_i - \log(1 + e^{l_i}), for logits l and pixels x."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor) -> Tensor:
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        x = x.to(logits.dtype)
        ctx.save_for_backward(logits, x)
        logits, x = torch.broadcast_tensors(logits, x)
        # log(1 + e^l) = max(l, 0) - log sigmoid(|l|). One buffer serves for both: touching new
        # memory takes longer than the arithmetic.
        buffer = logits.abs()
        factors = buffer.sigmoid_().unflatten(-1, (-1, _factors(logits.shape[-1])))
        off = factors.prod(-1).log_().sum(-1)
        torch.clamp_min(logits, 0, out=buffer).addcmul_(x, logits, value=-1)
        return off - buffer.sum(-1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, x = ctx.saved_tensors
        for_logits = for_x = None
        gradient = gradient.unsqueeze(-1)
        if ctx.needs_input_grad[0]:
            for_logits = torch.sub(x, torch.sigmoid(logits)).mul_(gradient)
        if ctx.needs_input_grad[1]:
            for_x = (logits * gradient).sum_to_size(x.shape)
        return for_logits, for_x


@functools.cache
def _factors(pixels: int) -> int:
    """How many sigmoids of at least one half can be multiplied, dividing the pixels evenly.

    A product of 120 is still a normal number in single precision.
    """
    return max(size for size in range(1, 121) if pixels % size == 0)


class Likelihood(nn.Module, ABC):
    """Owns the last linear layer, one number for each pixel, and makes a distribution of it.

    Args:
        in_features: F, number of features that the decoder gives.
        image_shape: (C, H, W).
        start_at_mean: begin training with the layer's bias at the mean image of the training data,
            which saves the epochs that finding it takes.

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (C, H, W).

    References:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016 (the bias).
    """

    def __init__(self, in_features: int, image_shape: Sequence[int], start_at_mean: bool) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.start_at_mean = start_at_mean
        self.head = nn.Linear(in_features, math.prod(image_shape))

    @torch.no_grad()
    def see_mean(self, mean: Tensor) -> None:
        """Take in the mean training image, (C, H, W) in [0, 1], before training starts."""
        if self.start_at_mean:
            self.head.bias.copy_(self.bias_of(mean.flatten()))

    @abstractmethod
    def bias_of(self, mean: Tensor) -> Tensor:
        """The bias with which the distribution has a mean, (C*H*W,), where all features are 0."""


class Bernoulli(Likelihood):
    r"""Each pixel is on with a probability of its own.

    .. math:: \log p(x|z) = \sum_i x_i \log \pi_i(z) + (1 - x_i) \log (1 - \pi_i(z))

    For grey pixels this is minus their cross-entropy: useful as a loss, but not a density of the
    image, so not comparable with an NLL of binary images.
    """

    def bias_of(self, mean: Tensor) -> Tensor:
        # A pixel that is always off would ask for a bias without end.
        return torch.logit(mean, eps=1e-3)

    def forward(self, features: Tensor) -> Distribution:
        return BernoulliImage(self.head(features), self.image_shape)


class Normal(Likelihood):
    r"""Each pixel is normal around a mean of its own, with one fixed scale.

    .. math:: \log p(x|z) = -\sum_i \frac{(x_i - \mu_i(z))^2}{2 s^2} - \log (s \sqrt{2 \pi})

    With the scale s at the square root of 1/2 this is minus the summed squared error, up to a
    constant: the mean squared error as a reconstruction loss, at the weight it has per pixel.

    Args:
        scale: s, standard deviation of a pixel, in units of the image (0 is black, 1 is white).

    Raises:
        ValueError: the scale is not a finite number above zero.
    """

    def __init__(
        self, in_features: int, image_shape: Sequence[int], start_at_mean: bool, scale: float
    ) -> None:
        super().__init__(in_features, image_shape, start_at_mean)
        positive("scale", scale)
        self.scale = scale

    def bias_of(self, mean: Tensor) -> Tensor:
        return mean

    def forward(self, features: Tensor) -> Distribution:
        mean = self.head(features).unflatten(-1, self.image_shape)  # (..., C, H, W)
        return Independent(TorchNormal(mean, self.scale, validate_args=False), 3, False)
