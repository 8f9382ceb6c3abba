"""The neural spline flow as the prior."""

from collections.abc import Sequence

from torch import nn
from torch.distributions import Distribution

from vae_lightning.distributions.flows import (
    FlowDistribution,
    conditioned,
    start_near_identity,
    zuko,
)
from vae_lightning.distributions.priors.prior import Encode, Prior
from vae_lightning.distributions.priors.standard_normal import StandardNormal
from vae_lightning.utils.checks import all_at_least, at_least


class FlowPrior(Prior):
    r"""Neural spline flow: standard normal noise, transformed by learned monotonic splines.

    .. math:: \log p(z) = \log \mathcal{N}(f(z) \mid 0, I)
              + \log \Big| \det \frac{\partial f(z)}{\partial z} \Big|

    Each step of f maps each dimension by a spline whose parameters depend on the dimensions before
    it; the order of the dimensions is reversed in each step. A density takes one pass, a sample D
    passes for each step. Before training, f is close to the identity.

    Args:
        latent_dim: D, number of latent dimensions.
        transforms: number of steps of f.
        hidden: width of each hidden layer of the network of a step.
        bins: number of pieces of a spline, on [-5, 5]; outside it is the identity.

    Shape:
        returns a distribution of batch shape () and event shape (D,).

    Raises:
        ValueError: `transforms` or a width below 1, or `bins` below 2.

    References:
        Durkan et al., "Neural Spline Flows", 2019. https://arxiv.org/abs/1906.04032
        Chen et al., "Variational Lossy Autoencoder", 2017 (a flow as the prior).
        https://arxiv.org/abs/1611.02731

    Example:
        >>> import torch
        >>> prior = FlowPrior(latent_dim=20, transforms=3, hidden=[64, 64], bins=8)
        >>> p = prior(encode=None)  # the encoder is not used
        >>> p.log_prob(torch.randn(128, 20)).shape
        torch.Size([128])
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
        return FlowDistribution(
            self.base(encode), conditioned(self.transform.transforms, context=None).inv
        )
