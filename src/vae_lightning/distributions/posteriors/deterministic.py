"""The deterministic posterior of an autoencoder."""

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.point_mass import PointMass
from vae_lightning.distributions.posteriors.posterior import Posterior


class Deterministic(Posterior):
    r"""A point mass: each image has one code, without noise, as in an autoencoder.

    .. math:: z = W h(x) + b

    It has no density, so there is no bound on log p(x): objectives that need one reject it, and no
    nll is reported. For the value of log q, see `PointMass`.

    Args:
        in_features: F, number of features of the encoder.
        latent_dim: D, number of latent dimensions.

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (D,).

    References:
        Ghosh, Sajjadi, Vergari, Black and Schölkopf, "From Variational to Deterministic
        Autoencoders", 2020. https://arxiv.org/abs/1903.12436

    Example:
        >>> import torch
        >>> posterior = Deterministic(in_features=400, latent_dim=20)
        >>> q = posterior(torch.randn(128, 400))
        >>> bool((q.sample() == q.mean).all())
        True
    """

    space = "euclidean"

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__()
        self.head = nn.Linear(in_features, latent_dim)

    def forward(self, features: Tensor) -> Distribution:
        return PointMass(self.head(features))
