"""A normalizing flow as the prior."""

from collections.abc import Sequence

from torch import nn
from torch.distributions import Distribution

from vae_lightning.distributions.flows import FlowDistribution, start_near_identity, zuko
from vae_lightning.distributions.priors.prior import Encode, Prior
from vae_lightning.distributions.priors.standard_normal import StandardNormal
from vae_lightning.utils.checks import all_at_least, at_least


class FlowPrior(Prior):
    r"""Standard normal noise, pushed through monotonic splines that are learned.

    .. math:: \log p(z) = \log \mathcal{N}(f(z) \mid 0, I)
              + \log \Big| \det \frac{\partial f(z)}{\partial z} \Big|

    Each step of f maps each dimension by a spline whose shape depends on the dimensions before it,
    in an order that turns round from step to step. A density takes one pass, a sample D passes for
    each step. At the start f is nearly the identity.

    Args:
        latent_dim: D, number of latent dimensions.
        transforms: steps of f.
        hidden: width of each hidden layer of a step's network.
        bins: pieces of a spline, between -5 and 5; outside of that it is the identity.

    Shape:
        returns a distribution of batch shape () and event shape (D,).

    Raises:
        ValueError: `transforms` or a width below 1, or `bins` below 2.
        ImportError: zuko is not installed.

    References:
        Durkan et al., "Neural Spline Flows", 2019.
        Chen et al., "Variational Lossy Autoencoder", 2017 (a flow as the prior).
    """

    space = "euclidean"

    def __init__(self, latent_dim: int, transforms: int, hidden: Sequence[int], bins: int) -> None:
        super().__init__()
        at_least("transforms", transforms, 1)
        all_at_least("hidden", hidden, 1)
        at_least("bins", bins, 2)
        self.base = StandardNormal(latent_dim)
        flow = zuko("flows").NSF(
            latent_dim, transforms=transforms, hidden_features=hidden, bins=bins, activation=nn.ELU
        )
        self.transform = flow.transform  # from latents to noise
        start_near_identity(self.transform.transforms)

    def forward(self, encode: Encode) -> Distribution:
        return FlowDistribution(self.base(encode), self.transform().inv)
