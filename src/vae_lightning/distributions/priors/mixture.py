"""A mixture of normals as the prior."""

import torch
from torch import nn
from torch.distributions import Distribution

from vae_lightning.distributions.normal_mixture import NormalMixture
from vae_lightning.distributions.priors.prior import Encode, Prior
from vae_lightning.utils.checks import at_least


class Mixture(Prior):
    r"""Normals with independent dimensions; their weights, means and scales are learned.

    .. math:: p(z) = \sum_{c=1}^C \pi_c \prod_j \mathcal{N}(z_j \mid \mu_{cj}, \sigma_{cj}^2)

    Args:
        latent_dim: D, number of latent dimensions.
        num_components: C, how many normals.
        spread: standard deviation of the means at the start, where each scale is 1 and the weights
            are equal. Components that start in the same place would stay there together.

    Shape:
        returns a distribution of batch shape () and event shape (D,).

    Raises:
        ValueError: `num_components` below 1, or `spread` below 0.

    References:
        Dilokthanakul et al., "Deep Unsupervised Clustering with Gaussian Mixture Variational
        Autoencoders", 2016.
    """

    space = "euclidean"

    def __init__(self, latent_dim: int, num_components: int, spread: float) -> None:
        super().__init__()
        at_least("num_components", num_components, 1)
        at_least("spread", spread, 0)
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.means = nn.Parameter(spread * torch.randn(num_components, latent_dim))
        self.log_scales = nn.Parameter(torch.zeros(num_components, latent_dim))

    def forward(self, encode: Encode) -> Distribution:
        return NormalMixture(self.logits.log_softmax(0), self.means, self.log_scales.exp())
