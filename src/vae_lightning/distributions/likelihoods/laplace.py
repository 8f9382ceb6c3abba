"""Laplace pixels of one fixed scale: the absolute error."""

from torch import Tensor
from torch.distributions import Distribution
from torch.distributions import Laplace as TorchLaplace

from vae_lightning.distributions.likelihoods.fixed_scale import FixedScale


class Laplace(FixedScale):
    r"""Each pixel has a Laplace distribution around a mean of its own, with one fixed scale.

    .. math:: \log p(x|z) = -\sum_i \frac{|x_i - \mu_i(z)|}{s} - \log (2 s)

    With the scale s at 1 this is minus the summed absolute error, up to a constant. What maximises
    it is the median of what a pixel may be, which is sharper than the mean.

    Args:
        scale: s, mean absolute deviation of a pixel, in units of the image (0 is black, 1 white).

    Raises:
        ValueError: the scale is not a finite number above zero.
    """

    def around(self, mean: Tensor) -> Distribution:
        return TorchLaplace(mean, self.scale, validate_args=False)
