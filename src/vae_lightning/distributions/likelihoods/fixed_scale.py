"""The base class of likelihoods with one fixed scale: normal and Laplace."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Distribution, Independent

from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.utils.checks import positive
from vae_lightning.utils.precision import at_least_float32


class FixedScale(Likelihood):
    """Each pixel has its own mean; the scale is the same for all and not learned.

    Args:
        scale: s, in units of the image (0 is black, 1 is white).

    Raises:
        ValueError: the scale is not a finite number above zero.
    """

    pixel_type = "continuous"

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

    @abstractmethod
    def around(self, mean: Tensor) -> Distribution:
        """The distribution of each single pixel.

        Shape:
            (..., C, H, W); returns batch shape (..., C, H, W), event shape ().
        """

    def bias_of(self, mean: Tensor) -> Tensor:
        return mean

    def forward(self, features: Tensor) -> Distribution:
        mean = at_least_float32(self.head(features))
        return Independent(self.around(mean.unflatten(-1, self.image_shape)), 3, False)
