"""The standard normal prior."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, register_kl

from vae_lightning.distributions.priors.prior import Encode, Prior
from vae_lightning.distributions.same_shape import SameShapeNormal


class UnitNormal(SameShapeNormal):
    """Torch's Normal of mean 0 and scale 1, known to be so: its KL takes half the operations."""


@register_kl(Normal, UnitNormal)
def _kl_normal_unit_normal(q: Normal, p: UnitNormal) -> Tensor:
    return _Divergence.apply(q.loc, q.scale)


class _Divergence(torch.autograd.Function):
    r"""\frac12 (m^2 + s^2 - 1) - \log s, for means m and scales s: one node where torch has six."""

    @staticmethod
    def forward(ctx: Any, loc: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(loc, scale)
        squares = torch.addcmul(loc.square(), scale, scale).sub_(1)
        return torch.sub(squares.mul_(0.5), scale.log())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        loc, scale = ctx.saved_tensors
        return gradient * loc, gradient * (scale - scale.reciprocal())


class StandardNormal(Prior):
    r"""The normal distribution of mean 0 and variance 1, independent in each dimension.

    .. math:: p(z) = \prod_j \mathcal{N}(z_j \mid 0, 1)

    Args:
        latent_dim: D, number of latent dimensions.

    Shape:
        returns a distribution of batch shape () and event shape (D,).
    """

    space = "euclidean"

    mean: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self, encode: Encode) -> Distribution:
        return Independent(UnitNormal(self.mean, self.scale), 1, False)
