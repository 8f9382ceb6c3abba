"""Likelihoods: from the decoder's features to p(x|z).

Each owns the last linear layer, so that a decoder need not know how many numbers a pixel takes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Distribution, Independent
from torch.distributions import Normal as TorchNormal

from vae_lightning.checks import positive


class BernoulliPixels(TorchBernoulli):
    """Torch's Bernoulli with a log-probability at a third of the cost.

    Torch goes by way of log(1 + y) with full precision for small y, which no CPU does in vectors.
    Without it the error is below 1e-7 nats for each pixel.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        return _LogProbability.apply(self.logits, value)


class _LogProbability(torch.autograd.Function):
    """x log sigmoid(l) + (1 - x) log sigmoid(-l), and its gradient in few passes."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(logits, x)
        # log p = x l + log sigmoid(-l). Where sigmoid(-l) underflows, its logarithm is -l.
        negative = logits.neg()
        off = torch.sigmoid(negative).clamp_min_(torch.finfo(logits.dtype).tiny)
        return torch.addcmul(torch.minimum(off.log_(), negative), x.to(logits.dtype), logits)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, x = ctx.saved_tensors
        for_logits = for_x = None
        if ctx.needs_input_grad[0]:
            for_logits = ((x - torch.sigmoid(logits)) * gradient).sum_to_size(logits.shape)
        if ctx.needs_input_grad[1]:
            for_x = (logits * gradient).sum_to_size(x.shape)
        return for_logits, for_x


class Bernoulli(nn.Module):
    r"""Each pixel is on with a probability of its own.

    .. math:: \log p(x|z) = \sum_i x_i \log \pi_i(z) + (1 - x_i) \log (1 - \pi_i(z))

    For grey pixels this is minus their cross-entropy: useful as a loss, but not a density of the
    image, so not comparable with an NLL of binary images.

    Args:
        in_features: F, number of features that the decoder gives.
        image_shape: (C, H, W).

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (C, H, W).
    """

    def __init__(self, in_features: int, image_shape: Sequence[int]) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.head = nn.Linear(in_features, math.prod(image_shape))

    def forward(self, features: Tensor) -> Distribution:
        logits = self.head(features).unflatten(-1, self.image_shape)  # (..., C, H, W)
        return Independent(BernoulliPixels(logits=logits, validate_args=False), 3, False)


class Normal(nn.Module):
    r"""Each pixel is normal around a mean of its own, with one fixed scale.

    .. math:: \log p(x|z) = -\sum_i \frac{(x_i - \mu_i(z))^2}{2 s^2} - \log (s \sqrt{2 \pi})

    With the scale s at the square root of 1/2 this is minus the summed squared error, up to a
    constant: the mean squared error as a reconstruction loss, at the weight it has per pixel.

    Args:
        in_features: F, number of features that the decoder gives.
        image_shape: (C, H, W).
        scale: s, standard deviation of a pixel, in units of the image (0 is black, 1 is white).

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (C, H, W).

    Raises:
        ValueError: the scale is not a finite number above zero.
    """

    def __init__(self, in_features: int, image_shape: Sequence[int], scale: float) -> None:
        super().__init__()
        positive("scale", scale)
        self.image_shape = tuple(image_shape)
        self.scale = scale
        self.head = nn.Linear(in_features, math.prod(image_shape))

    def forward(self, features: Tensor) -> Distribution:
        mean = self.head(features).unflatten(-1, self.image_shape)  # (..., C, H, W)
        return Independent(TorchNormal(mean, self.scale, validate_args=False), 3, False)
