"""Normal pixels with a fixed scale: the squared error."""

from torch import Tensor
from torch.distributions import Distribution
from torch.distributions import Normal as TorchNormal

from vae_lightning.distributions.likelihoods.fixed_scale import FixedScale


class Normal(FixedScale):
    r"""Normal pixels with one fixed standard deviation s.

    .. math:: \log p(x|z) = -\sum_i \frac{(x_i - \mu_i(z))^2}{2 s^2} - \log (s \sqrt{2 \pi})

    With :math:`s = \sqrt{1/2}` this is minus the squared error summed over pixels, up to a
    constant.

    Args:
        scale: s, standard deviation of a pixel, in units of the image (0 is black, 1 is white).

    Raises:
        ValueError: the scale is not a finite number above zero.

    Example:
        >>> import torch
        >>> likelihood = Normal(400, (1, 28, 28), start_at_mean=False, scale=0.5)
        >>> p = likelihood(torch.randn(128, 400))
        >>> p.log_prob(torch.rand(128, 1, 28, 28)).shape
        torch.Size([128])
    """

    def around(self, mean: Tensor) -> Distribution:
        return TorchNormal(mean, self.scale, validate_args=False)
