"""The mixture of normals as the prior."""

import torch
from torch import nn
from torch.distributions import Distribution

from vae_lightning.distributions.normal_mixture import NormalMixture
from vae_lightning.distributions.priors.prior import Encode, Prior
from vae_lightning.utils.checks import at_least


class Mixture(Prior):
    r"""A mixture of diagonal normals with learned weights, means and scales.

    .. math:: p(z) = \sum_{c=1}^C \pi_c \prod_j \mathcal{N}(z_j \mid \mu_{cj}, \sigma_{cj}^2)

    Args:
        latent_dim: D, number of latent dimensions.
        num_components: C, number of normals.
        spread: standard deviation of the initial means; all initial scales are 1 and all weights
            equal. With `spread=0` the components are identical, and training cannot separate them.

    Shape:
        returns a distribution of batch shape () and event shape (D,).

    Raises:
        ValueError: `num_components` below 1, or `spread` below 0.

    References:
        Dilokthanakul et al., "Deep Unsupervised Clustering with Gaussian Mixture Variational
        Autoencoders", 2016. https://arxiv.org/abs/1611.02648

    Example:
        >>> import torch
        >>> prior = Mixture(latent_dim=20, num_components=50, spread=1.0)
        >>> p = prior(encode=None)  # the encoder is not used
        >>> p.log_prob(torch.randn(128, 20)).shape
        torch.Size([128])
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
