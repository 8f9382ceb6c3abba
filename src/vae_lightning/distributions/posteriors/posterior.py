"""What every posterior does."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.spaces import Space


class Posterior(nn.Module, ABC):
    """Owns the encoder's last linear layer and makes q(z|x) of what it gives.

    Attributes:
        space: where its samples live.

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (D,).
    """

    space: ClassVar[Space]

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """Infer q(z|x)."""

    def check_scored(self, purpose: str) -> None:
        """Check that samples can be scored, which a rate without a closed form needs.

        Args:
            purpose: what scores them, as the beginning of a sentence.

        Raises:
            ValueError: numbers are too coarse for the densities that training asks for.
        """
