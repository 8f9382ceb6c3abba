"""The von Mises-Fisher distribution as the posterior."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.distributions.sphere.von_mises_fisher import VonMisesFisher
from vae_lightning.utils.checks import at_least


class VonMisesFisherPosterior(Posterior):
    r"""A von Mises-Fisher distribution: unit vectors around a mean direction.

    .. math:: q(z|x) \propto \exp(\kappa(x)\, \mu(x)^\top z), \quad \|z\| = \|\mu(x)\| = 1

    The direction is a linear function of the features, normalised to length 1. The concentration is
    1 plus the softplus of a linear function of the features.

    Args:
        in_features: F, number of features of the encoder.
        latent_dim: D, dimension of the surrounding space; the sphere has D - 1.

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (D,).

    Raises:
        ValueError: `latent_dim` below 2.

    References:
        Davidson, Falorsi, De Cao, Kipf and Tomczak, "Hyperspherical Variational Auto-Encoders",
        2018. https://arxiv.org/abs/1804.00891

    Example:
        >>> import torch
        >>> posterior = VonMisesFisherPosterior(in_features=400, latent_dim=10)
        >>> z = posterior(torch.randn(128, 400)).rsample()
        >>> torch.allclose(z.norm(dim=-1), torch.ones(128))
        True
    """

    space = "sphere"

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__()
        at_least("latent_dim", latent_dim, 2)
        self.head = nn.Linear(in_features, latent_dim + 1)

    def forward(self, features: Tensor) -> Distribution:
        free = self.head(features)
        if free.dtype in (torch.float16, torch.bfloat16):
            free = free.float()  # half precision is too coarse for angles
        return VonMisesFisher(
            direction=F.normalize(free[..., :-1], dim=-1),
            concentration=1 + F.softplus(free[..., -1]),
        )
