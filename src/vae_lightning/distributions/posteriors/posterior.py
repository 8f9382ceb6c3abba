"""The base class of posteriors."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.spaces import Space


class Posterior(nn.Module, ABC):
    """The last linear layer of the encoder, and the distribution q(z|x) that it parameterises.

    Attributes:
        space: the space of the samples.

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (D,).
    """

    space: ClassVar[Space]

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """Return q(z|x)."""

    def check_scored(self, purpose: str) -> None:
        """Check that log-densities of samples are accurate, as a sampled rate requires.

        Args:
            purpose: what needs the log-densities, as the subject of the message.

        Raises:
            ValueError: float32 is too coarse for them.
        """
