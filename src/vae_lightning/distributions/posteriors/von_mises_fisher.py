"""The posterior on the sphere."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.distributions.sphere.von_mises_fisher import VonMisesFisher
from vae_lightning.utils.checks import at_least


class VonMisesFisherPosterior(Posterior):
    r"""Unit vectors around a mean direction.

    .. math:: q(z|x) \propto \exp(\kappa(x)\, \mu(x)^\top z), \quad \|z\| = \|\mu(x)\| = 1

    The direction is linear in the features and then scaled to length 1; the concentration is 1 more
    than the softplus of what is linear in them.

    Args:
        in_features: F, number of features that the encoder gives.
        latent_dim: D, dimensions of the space that the sphere is in; the sphere has one less.

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (D,).

    Raises:
        ValueError: `latent_dim` below 2.

    References:
        Davidson, Falorsi, De Cao, Kipf and Tomczak, "Hyperspherical Variational Auto-Encoders",
        2018.
    """

    space = "sphere"

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__()
        at_least("latent_dim", latent_dim, 2)
        self.head = nn.Linear(in_features, latent_dim + 1)

    def forward(self, features: Tensor) -> Distribution:
        free = self.head(features)
        if free.dtype in (torch.float16, torch.bfloat16):
            free = free.float()  # half precision is too rough for angles
        return VonMisesFisher(
            direction=F.normalize(free[..., :-1], dim=-1),
            concentration=1 + F.softplus(free[..., -1]),
        )
