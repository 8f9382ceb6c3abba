"""The distribution with all probability at one point."""

from typing import Any, ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import Distribution


class PointMass(Distribution):
    r"""A deterministic vector, also known as the Dirac delta distribution.

    It has no density. `log_prob` returns 0 by convention, so that log q drops out: the rate is
    :math:`-\log p(z)` and the elbo :math:`\log p(x, z)`, the joint density of an image and its
    code. This is not a bound on :math:`\log p(x)`: scaling the codes down and the decoder's first
    weights up increases it without limit.

    Args:
        location: the point.

    Shape:
        location (*, D); batch shape (*), event shape (D,).
    """

    has_rsample = True
    arg_constraints: ClassVar = {}

    def __init__(self, location: Tensor) -> None:
        self.location = location
        super().__init__(location.shape[:-1], location.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The point, (*, D)."""
        return self.location

    @property
    def mode(self) -> Tensor:
        """The point, (*, D)."""
        return self.location

    @property
    def variance(self) -> Tensor:
        """Zeros, (*, D)."""
        return torch.zeros_like(self.location)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return the point, repeated: (*sample_shape, *, D)."""
        return self.location.expand(*sample_shape, *self.location.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Zeros, with the shape of a log-density."""
        shape: Size = torch.broadcast_shapes(value.shape, self.location.shape)
        return value.new_zeros(shape[:-1])
