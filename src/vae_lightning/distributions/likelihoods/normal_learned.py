"""Normal pixels of one scale that is learned, or that fits the errors best."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.distributions import Normal as TorchNormal

from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.distributions.likelihoods.numerics import soft_lower_bound, unbounded_log_scale


class NormalLearned(Likelihood):
    r"""Each pixel is normal around a mean of its own, all with one scale that training finds.

    .. math:: \log p(x|z) = -\sum_i \frac{(x_i - \mu_i(z))^2}{2 s^2} - \log (s \sqrt{2 \pi})

    The scale weighs the errors against the rate, so that no beta needs to be tuned. It is either
    `learned`, as a parameter, or `optimal`: in training mode the maximiser of a batch's mean
    log-likelihood, with each sample of z counting alike,

    .. math:: s^2 = \frac{1}{K B P} \sum_{k, b, i} (x_{b i} - \mu_i(z_{k b}))^2,

    the mean over samples, images and pixels. In training that gives no quite proper bound, as the
    density is fitted to the very images that it scores. In evaluation mode the scale is a running
    average over training batches, the same whatever is scored: a density, and a proper bound.
    Processes that train together each take their own batch's.

    Args:
        scale: `learned` or `optimal`.
        initial_scale: the scale at the beginning, in units of the image (0 is black, 1 is white).
        min_log_scale: lower limit of the logarithm of the scale, without which pixels that never
            change make the density grow without end.
        averaging: weight of the latest batch in the running average, of `optimal`.

    Raises:
        ValueError: the initial scale is not a finite number above its limit, or `averaging` not
            above 0 and at most 1.

    References:
        Rybkin, Daniilidis and Levine, "Simple and Effective VAE Training with Calibrated
        Decoders", 2021.
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
        mean = self.head(features).unflatten(-1, self.image_shape)  # (..., C, H, W)
        if self.scale == "learned":
            scale = torch.exp(soft_lower_bound(self.log_scale, self.min_log_scale))
        elif self.training:
            return _FittedNormalImage(mean, self)
        else:
            scale = self.limited(self.average).sqrt()
        return Independent(TorchNormal(mean, scale, validate_args=False), 3, False)

    def limited(self, variance: Tensor) -> Tensor:
        """A variance, or the least that is allowed."""
        return variance.clamp_min(math.exp(2 * self.min_log_scale))

    @torch.no_grad()
    def observe(self, variance: Tensor) -> None:
        """Take the variance of a batch into the running average, without its gradient."""
        self.batches += 1
        # The plain mean of the first batches, so that the initial value is forgotten.
        weight = (1 / self.batches).clamp_min(self.averaging)
        self.average.lerp_(variance.to(self.average.dtype), weight)


class _FittedNormalImage(Distribution):
    """The optimal normal image of training: its variance is fitted to whatever is scored."""

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
        scale = self._likelihood.limited(self._likelihood.average).sqrt()
        mean = self.mean.expand(*sample_shape, *self.mean.shape)
        return mean + scale * torch.randn_like(mean)

    def log_prob(self, value: Tensor) -> Tensor:
        squared_error = (value - self.mean).square().mean((-3, -2, -1))  # (K, B)
        # No gradient through the optimum: the derivative of the mean over samples is zero there.
        optimal = squared_error.detach().mean()
        self._likelihood.observe(optimal)
        variance = self._likelihood.limited(optimal)
        constant = torch.log(2 * math.pi * variance)
        return -0.5 * self.event_shape.numel() * (squared_error / variance + constant)
