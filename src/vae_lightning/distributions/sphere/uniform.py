"""The uniform distribution on the sphere."""

from typing import Any, ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, register_kl
from torch.nn import functional as F

from vae_lightning.distributions.sphere.von_mises_fisher import VonMisesFisher, log_area


class HypersphericalUniform(Distribution):
    """The uniform distribution on the unit sphere.

    Args:
        mean: zeros, with the device and dtype of the samples.

    Shape:
        mean (..., D), D at least 2; batch shape (...), event shape (D,).
    """

    has_rsample = True
    arg_constraints: ClassVar = {}

    def __init__(self, mean: Tensor) -> None:
        self._mean = mean
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean vector, the centre of the sphere, (..., D)."""
        return self._mean

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density with respect to area, a constant: (...) for unit vectors (..., D)."""
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return value.new_full(shape, -log_area(self.event_shape[0]))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw unit vectors, (*sample_shape, ..., D)."""
        mean = self._mean
        shape = Size(sample_shape) + mean.shape
        return F.normalize(torch.randn(shape, dtype=mean.dtype, device=mean.device), dim=-1)


@register_kl(VonMisesFisher, HypersphericalUniform)
def _kl_von_mises_fisher_uniform(q: VonMisesFisher, p: HypersphericalUniform) -> Tensor:
    return q.rate_to_uniform().expand(torch.broadcast_shapes(q.batch_shape, p.batch_shape))
