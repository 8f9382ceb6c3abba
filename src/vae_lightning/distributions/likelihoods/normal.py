"""Normal pixels of one fixed scale: the squared error."""

from torch import Tensor
from torch.distributions import Distribution
from torch.distributions import Normal as TorchNormal

from vae_lightning.distributions.likelihoods.fixed_scale import FixedScale


class Normal(FixedScale):
    r"""Each pixel is normal around a mean of its own, with one fixed scale.

    .. math:: \log p(x|z) = -\sum_i \frac{(x_i - \mu_i(z))^2}{2 s^2} - \log (s \sqrt{2 \pi})

    With the scale s at the square root of 1/2 this is minus the summed squared error, up to a
    constant: the mean squared error as a reconstruction loss, at the weight it has per pixel.

    Args:
        scale: s, standard deviation of a pixel, in units of the image (0 is black, 1 is white).

    Raises:
        ValueError: the scale is not a finite number above zero.
    """

    def around(self, mean: Tensor) -> Distribution:
        return TorchNormal(mean, self.scale, validate_args=False)
