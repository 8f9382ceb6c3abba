"""A distribution that depends on the very sample that it scores."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution


class DependsOnSample(Distribution):
    r"""Hides from closed forms a distribution whose parameters came from the sample that it scores.

    In a hierarchy that infers z2 from z1, the rate of the lower layer is

    .. math:: \mathbb{E}_{q(z_1|x)\, q(z_2|z_1)} [\log q(z_1|x) - \log p(z_1|z_2)]

    and z2 follows z1: the divergence between q(z1|x) and p(z1|z2) at one z2 takes the mean over
    other z1 than the one that z2 came from, which is another number and no part of any bound. What
    has no closed form is estimated from the sample, which is right.

    Args:
        base: the distribution itself.

    Shape:
        as `base`.
    """

    arg_constraints: ClassVar = {}
    has_rsample = True

    def __init__(self, base: Distribution) -> None:
        self.base = base
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.base.mean

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base.log_prob(value)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.base.rsample(torch.Size(sample_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.base.sample(torch.Size(sample_shape))
