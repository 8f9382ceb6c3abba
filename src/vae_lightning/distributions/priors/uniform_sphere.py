"""The uniform distribution on the sphere as the prior."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lightning.distributions.priors.prior import Encode, Prior
from vae_lightning.distributions.sphere.uniform import HypersphericalUniform
from vae_lightning.utils.checks import at_least


class UniformSphere(Prior):
    r"""The uniform distribution on the unit sphere.

    .. math:: p(z) = \frac{\Gamma(D / 2)}{2 \pi^{D / 2}}, \quad \|z\| = 1

    Args:
        latent_dim: D, dimension of the surrounding space.

    Shape:
        returns a distribution of batch shape () and event shape (D,).

    Raises:
        ValueError: `latent_dim` below 2.

    References:
        Davidson, Falorsi, De Cao, Kipf and Tomczak, "Hyperspherical Variational Auto-Encoders",
        2018. https://arxiv.org/abs/1804.00891

    Example:
        >>> import torch
        >>> prior = UniformSphere(latent_dim=10)
        >>> z = prior(encode=None).sample((128,))  # the encoder is not used
        >>> torch.allclose(z.norm(dim=-1), torch.ones(128))
        True
    """

    space = "sphere"

    mean: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        at_least("latent_dim", latent_dim, 2)
        self.register_buffer("mean", torch.zeros(latent_dim), persistent=False)

    def forward(self, encode: Encode) -> Distribution:
        return HypersphericalUniform(self.mean)
