"""Laplace pixels of one fixed scale: the absolute error."""

from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import Laplace as TorchLaplace

from vae_lightning.checks import positive
from vae_lightning.distributions.likelihoods.likelihood import Likelihood


class Laplace(Likelihood):
    r"""Each pixel has a Laplace distribution around a mean of its own, with one fixed scale.

    .. math:: \log p(x|z) = -\sum_i \frac{|x_i - \mu_i(z)|}{s} - \log (2 s)

    With the scale s at 1 this is minus the summed absolute error, up to a constant. What maximises
    it is the median of what a pixel may be, which is sharper than the mean.

    Args:
        scale: s, mean absolute deviation of a pixel, in units of the image (0 is black, 1 white).

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
        return Independent(TorchLaplace(mean, self.scale, validate_args=False), 3, False)
