"""Normal pixels of one fixed scale: the squared error."""

from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import Normal as TorchNormal

from vae_lightning.checks import positive
from vae_lightning.distributions.likelihoods.likelihood import Likelihood


class Normal(Likelihood):
    r"""Each pixel is normal around a mean of its own, with one fixed scale.

    .. math:: \log p(x|z) = -\sum_i \frac{(x_i - \mu_i(z))^2}{2 s^2} - \log (s \sqrt{2 \pi})

    With the scale s at the square root of 1/2 this is minus the summed squared error, up to a
    constant: the mean squared error as a reconstruction loss, at the weight it has per pixel.

    Args:
        scale: s, standard deviation of a pixel, in units of the image (0 is black, 1 is white).

    Raises:
        ValueError: the scale is not a finite number above zero.
    """

    measure = "density"

    def __init__(
        self,
        in_features: int | Sequence[int],
        image_shape: Sequence[int],
        start_at_mean: bool,
        scale: float,
    ) -> None:
        super().__init__(in_features, image_shape, start_at_mean)
        positive("scale", scale)
        self.scale = scale

    def bias_of(self, mean: Tensor) -> Tensor:
        return mean

    def forward(self, features: Tensor) -> Distribution:
        mean = self.head(features).unflatten(-1, self.image_shape)  # (..., C, H, W)
        return Independent(TorchNormal(mean, self.scale, validate_args=False), 3, False)
