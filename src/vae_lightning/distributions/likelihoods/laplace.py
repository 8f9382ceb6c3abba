"""Laplace pixels with a fixed scale: the absolute error."""

from torch import Tensor
from torch.distributions import Distribution
from torch.distributions import Laplace as TorchLaplace

from vae_lightning.distributions.likelihoods.fixed_scale import FixedScale


class Laplace(FixedScale):
    r"""Laplace pixels with one fixed scale s.

    .. math:: \log p(x|z) = -\sum_i \frac{|x_i - \mu_i(z)|}{s} - \log (2 s)

    With s = 1 this is minus the absolute error summed over pixels, up to a constant. The maximum is
    at the median of each pixel, which gives sharper images than the mean.

    Args:
        scale: s, mean absolute deviation of a pixel, in units of the image (0 is black, 1 white).

    Raises:
        ValueError: the scale is not a finite number above zero.

    Example:
        >>> import torch
        >>> likelihood = Laplace(400, (1, 28, 28), start_at_mean=False, scale=1.0)
        >>> p = likelihood(torch.randn(128, 400))
        >>> p.log_prob(torch.rand(128, 1, 28, 28)).shape
        torch.Size([128])
    """

    def around(self, mean: Tensor) -> Distribution:
        return TorchLaplace(mean, self.scale, validate_args=False)
