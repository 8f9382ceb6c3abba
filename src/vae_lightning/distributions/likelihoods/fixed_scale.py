"""Pixels of one fixed scale around means of their own: what normal and Laplace have in common."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Distribution, Independent

from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.utils.checks import positive


class FixedScale(Likelihood):
    """Each pixel varies around a mean of its own, all with one scale that does not learn.

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
        """The distribution of each pixel by itself.

        Shape:
            (..., C, H, W); returns batch shape (..., C, H, W), event shape ().
        """

    def bias_of(self, mean: Tensor) -> Tensor:
        return mean

    def forward(self, features: Tensor) -> Distribution:
        mean = self.head(features).unflatten(-1, self.image_shape)  # (..., C, H, W)
        return Independent(self.around(mean), 3, False)
