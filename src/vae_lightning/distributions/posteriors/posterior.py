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
