"""The standard normal prior."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vae_lightning.distributions.priors.prior import Encode, Prior


class StandardNormal(Prior):
    r"""The normal distribution with mean 0 and variance 1 in each dimension.

    .. math:: p(z) = \prod_j \mathcal{N}(z_j \mid 0, 1)

    Args:
        latent_dim: D, number of latent dimensions.

    Shape:
        returns a distribution of batch shape () and event shape (D,).

    Example:
        >>> import torch
        >>> prior = StandardNormal(latent_dim=20)
        >>> p = prior(encode=None)  # the encoder is not used
        >>> p.log_prob(torch.zeros(128, 20)).shape
        torch.Size([128])
    """

    space = "euclidean"

    mean: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self, encode: Encode) -> Distribution:
        return Independent(Normal(self.mean, self.scale, validate_args=False), 1, False)
