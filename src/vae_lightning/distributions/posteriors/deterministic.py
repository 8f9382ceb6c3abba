"""A code instead of a posterior."""

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.point_mass import PointMass
from vae_lightning.distributions.posteriors.posterior import Posterior


class Deterministic(Posterior):
    r"""Each image has one code, without noise: the encoder of an autoencoder.

    .. math:: z = W h(x) + b

    There is no density, hence no bound on log p(x): objectives that need one refuse it, and no nll
    is reported. What `PointMass` puts in the place of log q is said there.

    Args:
        in_features: F, number of features that the encoder gives.
        latent_dim: D, number of latent dimensions.

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (D,).

    References:
        Ghosh, Sajjadi, Vergari, Black and Schölkopf, "From Variational to Deterministic
        Autoencoders", 2020.
    """

    space = "euclidean"

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__()
        self.head = nn.Linear(in_features, latent_dim)

    def forward(self, features: Tensor) -> Distribution:
        return PointMass(self.head(features))
