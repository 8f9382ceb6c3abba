"""Posteriors: from the encoder's features to q(z|x)."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal


class DiagonalNormal(nn.Module):
    r"""A normal distribution with independent dimensions.

    .. math:: q(z|x) = \prod_j \mathcal{N}(z_j \mid \mu_j(x), \sigma_j^2(x)),
              \quad \log \sigma^2 \text{ linear in the features}

    Args:
        in_features: F, number of features that the encoder gives.
        latent_dim: D, number of latent dimensions.

    Shape:
        features (B, F); returns a distribution of batch shape (B,) and event shape (D,).

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.
    """

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__()
        self.head = nn.Linear(in_features, 2 * latent_dim)

    def forward(self, features: Tensor) -> Distribution:
        mean, log_variance = self.head(features).chunk(2, dim=-1)  # (B, D) each
        normal = Normal(mean, torch.exp(0.5 * log_variance), validate_args=False)
        return Independent(normal, 1, validate_args=False)
