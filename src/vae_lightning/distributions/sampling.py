"""Reparameterised samples, together with their log-densities."""

from abc import ABC, abstractmethod

from torch import Size, Tensor
from torch.distributions import Distribution


class RsampleAndLogProb(Distribution, ABC):
    """A distribution that returns samples and their log-densities in one pass.

    Computing the log-density of a given sample can be slow: a flow that is fast to sample from is
    slow to invert. The method has the name that zuko gives it.
    """

    @abstractmethod
    def rsample_and_log_prob(self, sample_shape: Size) -> tuple[Tensor, Tensor]:
        """Draw reparameterised samples, and return their log-densities as well.

        Shape:
            returns (*sample_shape, *batch, *event) and (*sample_shape, *batch).
        """


def draw(posterior: Distribution, num_samples: int) -> tuple[Tensor, Tensor | None]:
    """Draw K reparameterised samples, with their log-densities where these cost nothing extra.

    Shape:
        returns (K, *batch, *event), and (K, *batch) or None.
    """
    shape = Size((num_samples,))
    if isinstance(posterior, RsampleAndLogProb):
        return posterior.rsample_and_log_prob(shape)
    return posterior.rsample(shape), None
