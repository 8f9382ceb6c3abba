"""The inverse autoregressive flow as the posterior."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.flows import (
    FlowDistribution,
    conditioned,
    start_near_identity,
    zuko,
)
from vae_lightning.distributions.posteriors.diagonal_normal import DiagonalNormal
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.utils.checks import all_at_least, at_least


class FlowPosterior(Posterior):
    r"""Inverse autoregressive flow (IAF): a diagonal normal, transformed by autoregressive steps.

    .. math:: z_t = \mu_t + \sigma_t z_{t-1}, \quad t = 1 \dots T, \quad
        z_0 \sim \mathcal{N}(\mu_0(x), \sigma_0^2(x))

    where mu and sigma of a dimension depend on the features and on the dimensions of z_{t-1} before
    it; the order of the dimensions is reversed in each step. A sample and its density take one
    pass. The density of any other point takes D passes for each step, or one for each group if the
    dimensions are divided into groups that depend only on the groups before them. With two groups
    the steps are affine couplings. Before training, the steps are close to the identity.

    Args:
        in_features: F, number of features of the encoder.
        latent_dim: D, number of latent dimensions.
        transforms: T, number of steps.
        hidden: width of each hidden layer of the network of a step.
        passes: number of groups of dimensions; None for one dimension per group.

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (D,). Its
        `mean` is the transformed mean of z_0: a central point, but not the mean.

    Raises:
        ValueError: `transforms` or a width below 1, or `passes` below 2.

    References:
        Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", 2016.
        https://arxiv.org/abs/1606.04934
        Dinh, Sohl-Dickstein and Bengio, "Density Estimation Using Real NVP", 2017 (couplings).
        https://arxiv.org/abs/1605.08803

    Example:
        >>> import torch
        >>> posterior = FlowPosterior(400, latent_dim=20, transforms=2, hidden=[64], passes=None)
        >>> q = posterior(torch.randn(128, 400))
        >>> z, log_q = q.rsample_and_log_prob(torch.Size([5]))
        >>> z.shape, log_q.shape
        (torch.Size([5, 128, 20]), torch.Size([5, 128]))
    """

    space = "euclidean"

    def __init__(
        self,
        in_features: int,
        latent_dim: int,
        transforms: int,
        hidden: Sequence[int],
        passes: int | None,
    ) -> None:
        super().__init__()
        at_least("transforms", transforms, 1)
        all_at_least("hidden", hidden, 1)
        if passes is not None:
            at_least("passes", passes, 2)
        self.base = DiagonalNormal(in_features, latent_dim, scale="log_variance")
        # A masked autoregressive flow maps data to noise, and is fast to score. The same transform
        # from noise to latents is an inverse autoregressive flow, and fast to sample from.
        flow = zuko("flows").MAF(
            latent_dim,
            in_features,
            transforms=transforms,
            hidden_features=hidden,
            activation=nn.ELU,
            passes=passes,
        )
        self.transform = flow.transform
        start_near_identity(self.transform.transforms)

    def forward(self, features: Tensor) -> Distribution:
        return FlowDistribution(
            self.base(features), conditioned(self.transform.transforms, features)
        )
