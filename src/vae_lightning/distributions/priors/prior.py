"""The base class of priors."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.spaces import Space

Encode = Callable[[Tensor], Distribution]


class Prior(nn.Module, ABC):
    """The distribution p(z), with parameters that may be learned.

    Attributes:
        space: the space of the samples; None for a mixture of posteriors, which has their space.

    Shape:
        returns a distribution of batch shape () and event shape (D,).
    """

    space: ClassVar[Space | None]

    @abstractmethod
    def forward(self, encode: Encode) -> Distribution:
        """Return p(z). `encode`, of the model, is for priors that are mixtures of posteriors."""
