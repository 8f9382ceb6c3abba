"""Grey pixels under a density that the cross-entropy belongs to."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.distributions.likelihoods.numerics import at_least_float32, bisect


class ContinuousBernoulli(Likelihood):
    r"""Each pixel in [0, 1] has an exponential density with a slope of its own.

    .. math:: \log p(x|z) = \sum_i x_i \log \pi_i(z) + (1 - x_i) \log (1 - \pi_i(z))
              + \log C(\pi_i(z)), \quad
              C(\pi) = \frac{2 \tanh^{-1}(1 - 2 \pi)}{1 - 2 \pi}

    What the cross-entropy of grey pixels lacks to be a density is the constant C. The mean is not
    the probability that the cross-entropy would show, but less extreme.

    The density has no upper limit where a pixel is always 0 or always 1, so that much of a bound
    can come from the black margin of the images.

    References:
        Loaiza-Ganem and Cunningham, "The continuous Bernoulli: fixing a pervasive error in
        variational autoencoders", 2019.
    """

    pixel_type = "continuous"

    def bias_of(self, mean: Tensor) -> Tensor:
        # The logit of a small mean is about minus its inverse: a pixel that is always off would
        # ask for a bias that no learning rate brings back.
        mean = mean.clamp(0.01, 0.99)
        limit = torch.full_like(mean, 101.0)
        return bisect(_mean, mean, -limit, limit)

    def forward(self, features: Tensor) -> Distribution:
        return ContinuousBernoulliImage(self.head(features), self.image_shape)


class ContinuousBernoulliImage(Distribution):
    r"""An image of pixels in [0, 1] that have exponential densities, independently of each other.

    .. math:: \log p(x) = \sum_i x_i l_i - A(l_i), \quad A(l) = \log \frac{e^l - 1}{l}

    Torch's own keeps logits within about 16 of zero, where a mean of 0.01 needs 100, and
    approximates around zero.

    Args:
        logits: l, of the pixels, (..., P).
        image_shape: (C, H, W), P pixels in all.

    Shape:
        batch shape (...), event shape (C, H, W).
    """

    has_rsample = False
    arg_constraints: ClassVar = {}

    def __init__(self, logits: Tensor, image_shape: Sequence[int]) -> None:
        self.logits = at_least_float32(logits)
        super().__init__(logits.shape[:-1], torch.Size(image_shape), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Mean of each pixel, (..., C, H, W)."""
        return _mean(self.logits).unflatten(-1, self.event_shape)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw images of pixels in [0, 1], (*sample_shape, ..., C, H, W)."""
        logits = self.logits.expand(*sample_shape, *self.logits.shape)
        # The inverse of the distribution function for a falling density, and its mirror image.
        slope = logits.abs().clamp_min(torch.finfo(logits.dtype).eps)
        falling = torch.log1p(torch.rand_like(slope) * torch.expm1(-slope)) / -slope
        drawn = torch.where(logits > 0, 1 - falling, falling)
        return drawn.clamp(0, 1).unflatten(-1, self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of images (..., C, H, W) in [0, 1], broadcast against the batch."""
        x = value.flatten(-3).to(self.logits.dtype)
        return (x * self.logits - _LogNormaliser.apply(self.logits)).sum(-1)


class _LogNormaliser(torch.autograd.Function):
    r"""A(l) = \max(l, 0) + \log \frac{1 - e^{-|l|}}{|l|}, whose derivative is the mean.

    The derivative of what computes it would lose all digits around zero, and be none at zero.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits)
        slope = logits.abs().clamp_min(torch.finfo(logits.dtype).tiny)
        return logits.clamp_min(0) + torch.log(-torch.expm1(-slope) / slope)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (logits,) = ctx.saved_tensors
        return gradient * _mean(logits)


# Of Langevin's function, coth h - 1/h, in odd powers of h: its series converges below pi.
_ORDERS = torch.arange(1, 11, dtype=torch.float64)
_SERIES: list[float] = (
    -2 * (-1) ** _ORDERS * torch.special.zeta(2 * _ORDERS, 1) / math.pi ** (2 * _ORDERS)
).tolist()


def _mean(logits: Tensor) -> Tensor:
    r"""A'(l) = \frac12 + \frac12 (\coth h - \frac1h), with h = l/2."""
    half = logits / 2
    small = half.abs() < 0.5
    near = torch.where(small, half, 0.0)
    square = near.square()
    series = torch.full_like(near, _SERIES[-1])
    for coefficient in reversed(_SERIES[:-1]):
        series = torch.addcmul(torch.full_like(near, coefficient), series, square)
    # Away from zero, where the two differ; 1 keeps what is not chosen, and its gradient, finite.
    far = torch.where(small, 1.0, half)
    langevin = torch.where(small, series * near, 1 / torch.tanh(far) - 1 / far)
    return 0.5 + 0.5 * langevin
