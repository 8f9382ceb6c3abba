"""KL divergences that must be estimated from samples."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution


class MonteCarloKL(Distribution):
    r"""A distribution without a KL divergence in closed form, so that it is estimated from samples.

    It is for distributions whose parameters depend on the sample that they score. In a hierarchy
    that infers z2 from z1, the rate of the lower layer is

    .. math:: \mathbb{E}_{q(z_1|x)\, q(z_2|z_1)} [\log q(z_1|x) - \log p(z_1|z_2)]

    The closed form for q(z1|x) and p(z1|z2) at one z2 would average over values of z1 other than
    the one that z2 was inferred from. That is a different number, and not part of any bound. The
    Monte Carlo estimate from the sample is unbiased.

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
