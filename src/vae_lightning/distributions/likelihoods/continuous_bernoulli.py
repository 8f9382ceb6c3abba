"""Grey pixels with the continuous Bernoulli density."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.distributions.likelihoods.numerics import bisect
from vae_lightning.utils.precision import at_least_float32


class ContinuousBernoulli(Likelihood):
    r"""Continuous Bernoulli pixels: an exponential density on [0, 1] for each.

    .. math:: \log p(x|z) = \sum_i x_i \log \pi_i(z) + (1 - x_i) \log (1 - \pi_i(z))
              + \log C(\pi_i(z)), \quad
              C(\pi) = \frac{2 \tanh^{-1}(1 - 2 \pi)}{1 - 2 \pi}

    The constant C normalises the cross-entropy of grey pixels. The mean of a pixel is not
    :math:`\pi_i` but closer to 1/2.

    The density is unbounded for pixels that are always 0 or always 1, so that a large part of the
    bound can come from the black margin of the images.

    References:
        Loaiza-Ganem and Cunningham, "The continuous Bernoulli: fixing a pervasive error in
        variational autoencoders", 2019. https://arxiv.org/abs/1907.06845

    Example:
        >>> import torch
        >>> likelihood = ContinuousBernoulli(400, (1, 28, 28), start_at_mean=False)
        >>> p = likelihood(torch.randn(128, 400))
        >>> p.log_prob(torch.rand(128, 1, 28, 28)).shape
        torch.Size([128])
    """

    pixel_type = "continuous"

    def bias_of(self, mean: Tensor) -> Tensor:
        # The logit of a small mean m is about -1/m: pixels that are always off would have a bias
        # so far from 0 that training could not change it.
        mean = mean.clamp(0.01, 0.99)
        limit = torch.full_like(mean, 101.0)
        return bisect(_mean, mean, -limit, limit)

    def forward(self, features: Tensor) -> Distribution:
        return ContinuousBernoulliImage(self.head(features), self.image_shape)


class ContinuousBernoulliImage(Distribution):
    r"""An image of independent continuous Bernoulli pixels.

    .. math:: \log p(x) = \sum_i x_i l_i - A(l_i), \quad A(l) = \log \frac{e^l - 1}{l}

    `torch.distributions.ContinuousBernoulli` clamps logits to about 16, where a mean of 0.01 needs
    100, and uses an approximation near zero.

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
        # The inverse of the distribution function of a falling density, mirrored for a rising one.
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

    Automatic differentiation of this formula is inaccurate near zero, and undefined at zero.
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


# Series of the Langevin function, coth h - 1/h, in odd powers of h; it converges for |h| < pi.
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
    # For small h, 1 is substituted, so that the unused branch and its gradient are finite.
    far = torch.where(small, 1.0, half)
    langevin = torch.where(small, series * near, 1 / torch.tanh(far) - 1 / far)
    return 0.5 + 0.5 * langevin
