"""The normal distribution of networks, whose mean and scale come in one shape."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal


class SameShapeNormal(Normal):
    """Torch's Normal, made and drawn from in fewer operations.

    There is nothing to broadcast and nothing is checked; a sample is one operation on the noise.

    Shape:
        loc, scale (...), the same; batch shape (...).
    """

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.loc, self.scale = loc, scale
        Distribution.__init__(self, loc.shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "SameShapeNormal":
        return type(self)(self.loc.expand(batch_shape), self.scale.expand(batch_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = torch.randn(
            (*sample_shape, *self.loc.shape), dtype=self.loc.dtype, device=self.loc.device
        )
        return torch.addcmul(self.loc, noise, self.scale)
