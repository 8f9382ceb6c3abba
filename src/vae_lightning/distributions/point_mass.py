"""All probability on one point."""

from typing import Any, ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import Distribution


class PointMass(Distribution):
    r"""A vector that is known for certain: its samples and its mean are its location.

    It has no density. Its log-density is 0 by convention, so that log q drops out of what is made
    of it: the rate is :math:`-\log p(z)` and the elbo :math:`\log p(x, z)`, the joint density of an
    image and its code. That is no bound on :math:`\log p(x)`, and grows without end as the codes
    are scaled down and the decoder's first weights up.

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
        """Nought, (*, D)."""
        return torch.zeros_like(self.location)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """The point over again, (*sample_shape, *, D)."""
        return self.location.expand(*sample_shape, *self.location.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Nought, of the shape that a log-density would have."""
        shape: Size = torch.broadcast_shapes(value.shape, self.location.shape)
        return value.new_zeros(shape[:-1])
