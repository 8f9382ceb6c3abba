"""The posterior by inverse autoregressive flow."""

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
    r"""A normal distribution with independent dimensions, pushed through autoregressive steps.

    .. math:: z_t = \mu_t + \sigma_t z_{t-1}, \quad t = 1 \dots T, \quad
        z_0 \sim \mathcal{N}(\mu_0(x), \sigma_0^2(x))

    where mu and sigma of a dimension are made from the features and the dimensions of z_{t-1}
    before it, in an order that turns round from step to step. A sample takes one pass and knows its
    density; the density of any other point takes D passes for each step, or as many as groups,
    where the dimensions are parted into a few and look only at the groups before their own: with
    two, the steps are affine couplings. At the start the steps are nearly the identity.

    Args:
        in_features: F, number of features that the encoder gives.
        latent_dim: D, number of latent dimensions.
        transforms: T, number of steps.
        hidden: width of each hidden layer of a step's network.
        passes: how many groups of dimensions; None for each by itself.

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (D,). Its
        `mean` is where the mean of z_0 goes, a central point but not the mean.

    Raises:
        ValueError: `transforms` or a width below 1, or `passes` below 2.
        ImportError: zuko is not installed.

    References:
        Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", 2016.
        Dinh, Sohl-Dickstein and Bengio, "Density Estimation Using Real NVP", 2017 (couplings).
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
        # What the flow of that name takes from data to noise, which is fast to score, is taken from
        # noise to latents here, which is fast to sample.
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
