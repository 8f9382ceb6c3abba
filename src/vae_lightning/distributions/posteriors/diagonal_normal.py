"""The normal posterior with independent dimensions."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal
from torch.nn import functional as F

from vae_lightning.distributions.posteriors.posterior import Posterior


class DiagonalNormal(Posterior):
    r"""A normal distribution with independent dimensions.

    .. math:: q(z|x) = \prod_j \mathcal{N}(z_j \mid \mu_j(x), \sigma_j^2(x))

    Args:
        in_features: F, number of features that the encoder gives.
        latent_dim: D, number of latent dimensions.
        scale: what of the standard deviation is linear in the features: `log_variance`,
            `clipped_log_variance` (to between -6 and 2, as Tomczak and Welling do), `log_scale`, or
            what its `softplus` is taken of.

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (D,).

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.
        Tomczak and Welling, "VAE with a VampPrior", 2018.
    """

    space = "euclidean"

    def __init__(
        self,
        in_features: int,
        latent_dim: int,
        scale: Literal["log_variance", "clipped_log_variance", "log_scale", "softplus"],
    ) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Linear(in_features, 2 * latent_dim)

    def forward(self, features: Tensor) -> Distribution:
        mean, free = self.head(features).chunk(2, dim=-1)  # (..., D) each
        if self.scale == "log_variance":
            scale = torch.exp(0.5 * free)
        elif self.scale == "clipped_log_variance":
            scale = torch.exp(0.5 * F.hardtanh(free, -6.0, 2.0))
        elif self.scale == "log_scale":
            scale = torch.exp(free)
        else:
            scale = F.softplus(free)
        return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)
