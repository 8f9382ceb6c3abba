"""Normal pixels with a learned or an optimal scale (the sigma-VAE)."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.distributions import Normal as TorchNormal

from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.distributions.likelihoods.numerics import (
    soft_lower_bound,
    unbounded_log_scale,
)
from vae_lightning.utils.precision import at_least_float32


class NormalLearned(Likelihood):
    r"""Normal pixels with one standard deviation s that is found in training (the sigma-VAE).

    .. math:: \log p(x|z) = -\sum_i \frac{(x_i - \mu_i(z))^2}{2 s^2} - \log (s \sqrt{2 \pi})

    The scale balances distortion and rate, so no beta has to be tuned. With `learned`, s is a
    parameter. With `optimal`, in training mode, it maximises the mean log-likelihood of the batch:

    .. math:: s^2 = \frac{1}{K B P} \sum_{k, b, i} (x_{b i} - \mu_i(z_{k b}))^2,

    the mean over samples, images and pixels. In training this is not strictly a bound, since the
    density is fitted to the images that it scores. In evaluation mode, s is a running average over
    training batches, which gives a density and a bound. With several processes, each uses its own
    batches.

    Args:
        scale: `learned` or `optimal`.
        initial_scale: initial s, in units of the image (0 is black, 1 is white).
        min_log_scale: lower limit of log s, without which the density of constant pixels is
            unbounded.
        averaging: weight of the latest batch in the running average, for `optimal`.

    Raises:
        ValueError: the initial scale is not a finite number above its lower limit, or `averaging`
            is not above 0 and at most 1.

    References:
        Rybkin, Daniilidis and Levine, "Simple and Effective VAE Training with Calibrated
        Decoders", 2021. https://arxiv.org/abs/2006.13202

    Example:
        >>> import torch
        >>> likelihood = NormalLearned(
        ...     400,
        ...     (1, 28, 28),
        ...     start_at_mean=False,
        ...     scale="learned",
        ...     initial_scale=0.3,
        ...     min_log_scale=-6.0,
        ...     averaging=0.01,
        ... )
        >>> likelihood(torch.randn(128, 400)).stddev.mean()
        tensor(0.3000, grad_fn=<MeanBackward0>)
    """

    pixel_type = "continuous"

    average: Tensor
    batches: Tensor

    def __init__(
        self,
        in_features: int | Sequence[int],
        image_shape: Sequence[int],
        start_at_mean: bool,
        scale: Literal["learned", "optimal"],
        initial_scale: float,
        min_log_scale: float,
        averaging: float,
    ) -> None:
        super().__init__(in_features, image_shape, start_at_mean)
        free = unbounded_log_scale(initial_scale, min_log_scale)
        if not 0 < averaging <= 1:
            raise ValueError(f"averaging={averaging} is out of range: above 0 and at most 1")
        self.scale = scale
        self.min_log_scale = min_log_scale
        self.averaging = averaging
        if scale == "learned":
            self.log_scale = nn.Parameter(torch.tensor(free))
        else:
            self.register_buffer("average", torch.tensor(initial_scale**2))
            self.register_buffer("batches", torch.zeros(()))

    def bias_of(self, mean: Tensor) -> Tensor:
        return mean

    def forward(self, features: Tensor) -> Distribution:
        mean = at_least_float32(self.head(features))
        mean = mean.unflatten(-1, self.image_shape)  # (..., C, H, W)
        if self.scale == "learned":
            scale = torch.exp(soft_lower_bound(self.log_scale, self.min_log_scale))
        elif self.training:
            return _FittedNormalImage(mean, self)
        else:
            scale = self.clamped(self.average).sqrt()
        return Independent(TorchNormal(mean, scale, validate_args=False), 3, False)

    def clamped(self, variance: Tensor) -> Tensor:
        """The variance, clamped to its lower limit."""
        return variance.clamp_min(math.exp(2 * self.min_log_scale))

    @torch.no_grad()
    def observe(self, variance: Tensor) -> None:
        """Update the running average with the variance of a batch, without its gradient."""
        self.batches += 1
        # The plain mean of the first batches, so that the initial value has no weight.
        weight = (1 / self.batches).clamp_min(self.averaging)
        self.average.lerp_(variance.to(self.average.dtype), weight)


class _FittedNormalImage(Distribution):
    """A normal image whose variance is fitted to the images that it scores, in training mode."""

    has_rsample = False
    arg_constraints: ClassVar = {}

    def __init__(self, mean: Tensor, likelihood: NormalLearned) -> None:
        self._mean = mean
        self._likelihood = likelihood
        super().__init__(mean.shape[:-3], mean.shape[-3:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self._mean

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        scale = self._likelihood.clamped(self._likelihood.average).sqrt()
        mean = self.mean.expand(*sample_shape, *self.mean.shape)
        return mean + scale * torch.randn_like(mean)

    def log_prob(self, value: Tensor) -> Tensor:
        squared_error = (value - self.mean).square().mean((-3, -2, -1))  # (K, B)
        # No gradient through the optimum, where the derivative of the mean is zero.
        optimal = squared_error.detach().mean()
        self._likelihood.observe(optimal)
        variance = self._likelihood.clamped(optimal)
        constant = torch.log(2 * math.pi * variance)
        return -0.5 * self.event_shape.numel() * (squared_error / variance + constant)
