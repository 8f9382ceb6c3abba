"""What every prior does."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.spaces import Space

Encode = Callable[[Tensor], Distribution]


class Prior(nn.Module, ABC):
    """Makes p(z).

    Attributes:
        space: where its samples live; None for a prior made of posteriors, which is where they are.

    Shape:
        returns a distribution of batch shape () and event shape (D,).
    """

    space: ClassVar[Space | None]

    @abstractmethod
    def forward(self, encode: Encode) -> Distribution:
        """Return p(z). `encode`, the model's own, is for priors that are made of posteriors."""
