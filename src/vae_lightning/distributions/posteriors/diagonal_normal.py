"""The normal posterior with a diagonal covariance matrix."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal
from torch.nn import functional as F

from vae_lightning.distributions.posteriors.posterior import Posterior


class DiagonalNormal(Posterior):
    r"""A normal distribution with independent dimensions, the usual posterior of a VAE.

    .. math:: q(z|x) = \prod_j \mathcal{N}(z_j \mid \mu_j(x), \sigma_j^2(x))

    Args:
        in_features: F, number of features of the encoder.
        latent_dim: D, number of latent dimensions.
        scale: how the standard deviation depends on the output of the linear layer, which is its
            `log_variance`, its `clipped_log_variance` (to the range from -6 to 2, as in Tomczak and
            Welling), its `log_scale`, or the argument of a `softplus`.

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (D,).

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.
        https://arxiv.org/abs/1312.6114
        Tomczak and Welling, "VAE with a VampPrior", 2018. https://arxiv.org/abs/1705.07120

    Example:
        >>> import torch
        >>> posterior = DiagonalNormal(in_features=400, latent_dim=20, scale="log_variance")
        >>> q = posterior(torch.randn(128, 400))
        >>> q.batch_shape, q.event_shape
        (torch.Size([128]), torch.Size([20]))
        >>> q.rsample((5,)).shape
        torch.Size([5, 128, 20])
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
