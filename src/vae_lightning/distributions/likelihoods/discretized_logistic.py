"""Pixels with 256 grey values: a discretised logistic distribution."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

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
    soft_lower_bound,
    unbounded_log_scale,
)
from vae_lightning.utils.precision import at_least_float32


class DiscretizedLogistic(Likelihood):
    r"""Independent logistic pixels, rounded to 256 grey values.

    .. math:: \log p(x|z) = \sum_i \log \left[
              \sigma\Big(\frac{x_i + w/2 - \mu_i(z)}{s}\Big)
              - \sigma\Big(\frac{x_i - w/2 - \mu_i(z)}{s}\Big) \right], \quad w = 1/255

    The intervals of 0 and 1 include the tails. Pixels between grey values are rounded to the
    nearest.

    Args:
        scale: `shared`: s is one parameter for all pixels; `pixel`: each has its own, from the
            decoder.
        initial_scale: initial s, in units of the image (0 is black, 1 is white).
        min_log_scale: lower limit of log s. At -8 a single grey value can have almost all of the
            probability.

    Raises:
        ValueError: the initial scale is not a finite number above its lower limit.

    References:
        Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", 2016
        (shared scale). https://arxiv.org/abs/1606.04934
        Salimans, Karpathy, Chen and Kingma, "PixelCNN++: Improving the PixelCNN with Discretized
        Logistic Mixture Likelihood and Other Modifications", 2017 (scale of each pixel).
        https://arxiv.org/abs/1701.05517

    Example:
        >>> import torch
        >>> likelihood = DiscretizedLogistic(
        ...     400,
        ...     (1, 28, 28),
        ...     start_at_mean=False,
        ...     scale="shared",
        ...     initial_scale=0.1,
        ...     min_log_scale=-8.0,
        ... )
        >>> p = likelihood(torch.randn(128, 400))
        >>> p.log_prob(torch.rand(128, 1, 28, 28)).shape
        torch.Size([128])
    """

    pixel_type = "discrete"

    def __init__(
        self,
        in_features: int | Sequence[int],
        image_shape: Sequence[int],
        start_at_mean: bool,
        scale: Literal["shared", "pixel"],
        initial_scale: float,
        min_log_scale: float,
    ) -> None:
        numbers = 2 if scale == "pixel" else 1
        super().__init__(in_features, image_shape, start_at_mean, numbers)
        self.scale = scale
        self.initial_log_scale = unbounded_log_scale(initial_scale, min_log_scale)
        self.min_log_scale = min_log_scale
        if scale == "shared":
            self.log_scale = nn.Parameter(torch.tensor(self.initial_log_scale))

    def bias_of(self, mean: Tensor) -> Tensor:
        # The location of a pixel that is always off is infinite.
        mean = mean.clamp(1e-3, 1 - 1e-3)
        free = torch.zeros_like(mean)
        log_scale = self._log_scale(free)

        def mean_at(location: Tensor) -> Tensor:
            return _DiscretizedLogisticImage(location, log_scale, self.image_shape).mean.flatten()

        # At ten scales outside of [0, 1], less than 0.001 of the distribution is inside.
        beyond = 1 + 10 * log_scale.exp()
        bias = bisect(mean_at, mean, -beyond + free, 1 + beyond + free)
        return torch.cat([bias, free]) if self.scale == "pixel" else bias

    def forward(self, features: Tensor) -> Distribution:
        numbers = at_least_float32(self.head(features))
        if self.scale == "pixel":
            location, free = numbers.chunk(2, dim=-1)  # (..., P) each
        else:
            location = free = numbers
        return _DiscretizedLogisticImage(location, self._log_scale(free), self.image_shape)

    def _log_scale(self, free: Tensor) -> Tensor:
        shared = self.scale == "shared"
        log_scale = self.log_scale if shared else free + self.initial_log_scale
        return soft_lower_bound(log_scale, self.min_log_scale)


class _DiscretizedLogisticImage(Distribution):
    """An image of independent, rounded logistic pixels."""

    has_rsample = False
    arg_constraints: ClassVar = {}

    def __init__(self, location: Tensor, log_scale: Tensor, image_shape: Sequence[int]) -> None:
        self.location = location  # (..., P)
        self.log_scale = log_scale  # (..., P) or ()
        super().__init__(location.shape[:-1], torch.Size(image_shape), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Mean of each pixel's discrete distribution, (..., C, H, W)."""
        rate = torch.exp(-self.log_scale)
        # The sum of the probabilities to be above each border, one after the other: all at once
        # they take the memory of 255 images for each image.
        total = torch.zeros_like(self.location)
        for border in range(1, GREY_VALUES):
            total = total + torch.sigmoid((self.location - (border - 0.5) / 255) * rate)
        return pixel(total).unflatten(-1, self.event_shape)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw images of 256 grey values in [0, 1], (*sample_shape, ..., C, H, W)."""
        location = self.location.expand(*sample_shape, *self.location.shape)
        noise = torch.logit(torch.rand_like(location))
        drawn = grey_value(location + self.log_scale.exp() * noise)
        return pixel(drawn).unflatten(-1, self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of images (..., C, H, W) in [0, 1], broadcast against the batch."""
        grey = grey_value(value.flatten(-3).to(self.location.dtype))
        rate = torch.exp(-self.log_scale)
        above = (pixel(grey + 0.5) - self.location) * rate
        below = (pixel(grey - 0.5) - self.location) * rate
        # The difference of sigmoids cancels far from the location, so it is computed as a product:
        # s(a) - s(b) = s(a) s(-b) (1 - e^(b - a)). At the ends, one sigmoid is all that is left.
        width = (pixel(torch.ones_like(rate)) * rate).clamp_min(torch.finfo(rate.dtype).tiny)
        darkest, brightest = grey == 0, grey == GREY_VALUES - 1
        terms = torch.where(brightest, 0.0, F.logsigmoid(above))
        terms = terms + torch.where(darkest, 0.0, F.logsigmoid(-below))
        inside = torch.log(-torch.expm1(-width))
        return (terms + torch.where(darkest | brightest, 0.0, inside)).sum(-1)
