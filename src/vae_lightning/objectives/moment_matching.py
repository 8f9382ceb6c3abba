"""DIP-VAE: the ELBO, and a penalty on the covariance of the latents."""

from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from vae_lightning.distributions.flows import FlowDistribution
from vae_lightning.models.trace import Trace
from vae_lightning.objectives.objective import Objective
from vae_lightning.objectives.trace_checks import (
    require_density,
    require_single_layer,
    require_vectors,
)
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.precision import at_least_float32


class MomentMatching(Objective):
    r"""Minus the ELBO, and the distance of a covariance matrix over the images from the identity.

    .. math:: \mathcal{L} = -\mathrm{ELBO} + \lambda_o \sum_{i \ne j} \Sigma_{ij}^2
              + \lambda_d \sum_i (\Sigma_{ii} - 1)^2

    where :math:`\Sigma` is the covariance of the posterior means (DIP-VAE-I) or of the aggregate
    posterior (DIP-VAE-II). The latter follows from the law of total covariance:

    .. math:: \mathrm{Cov}_{q(z)}[z] = \mathrm{Cov}_x[\mu(x)]
              + \mathbb{E}_x[\mathrm{Cov}_{q(z|x)}[z]]

    Covariances over a batch are divided by B, not B - 1. With both weights at 0 this is minus the
    ELBO.

    Args:
        num_samples: K, number of posterior samples that estimate the ELBO.
        covariance_of: `means` for DIP-VAE-I, `latents` for DIP-VAE-II.
        diagonal_weight: lambda_d.
        off_diagonal_weight: lambda_o.

    Raises:
        ValueError: `num_samples` below 1, or a weight below 0.

    References:
        Kumar, Sattigeri and Balakrishnan, "Variational Inference of Disentangled Latent Concepts
        from Unlabeled Observations", 2018. https://arxiv.org/abs/1711.00848

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> from vae_lightning.models.trace import Latent, Trace
        >>> x = torch.rand(8, 1, 28, 28)
        >>> posterior = Independent(Normal(torch.zeros(8, 2, requires_grad=True), 1.0), 1)
        >>> prior = Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> latent = Latent(posterior.rsample((1,)), posterior, prior)
        >>> trace = Trace(x, [latent], Independent(Normal(torch.zeros(1, 8, 1, 28, 28), 1.0), 3))
        >>> objective = MomentMatching(1, "means", diagonal_weight=100.0, off_diagonal_weight=10.0)
        >>> loss, parts = objective(trace, step=0)
        >>> sorted(parts)
        ['moment_matching']
    """

    def __init__(
        self,
        num_samples: int,
        covariance_of: Literal["means", "latents"],
        diagonal_weight: float,
        off_diagonal_weight: float,
    ) -> None:
        super().__init__(num_samples)
        at_least("diagonal_weight", diagonal_weight, 0)
        at_least("off_diagonal_weight", off_diagonal_weight, 0)
        self.covariance_of = covariance_of
        self.diagonal_weight = diagonal_weight
        self.off_diagonal_weight = off_diagonal_weight

    def loss(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        require_density(trace)
        latent = require_single_layer(trace, "moment matching")
        require_vectors(latent, "moment matching")
        posterior = latent.posterior
        try:
            if isinstance(posterior, FlowDistribution):
                raise NotImplementedError
            covariance = covariance_over_images(at_least_float32(posterior.mean))
            if self.covariance_of == "latents":
                covariance = covariance + _mean_covariance(posterior)
        except NotImplementedError as error:
            raise ValueError(
                "moment matching needs a posterior whose mean and variance are known: choose "
                "model/posterior=diagonal_normal, or objective=elbo"
            ) from error
        diagonal = covariance.diagonal()
        off_diagonal = (covariance - diagonal.diag()).square().sum()
        spread = (diagonal - 1).square().sum()
        penalty = self.diagonal_weight * spread + self.off_diagonal_weight * off_diagonal
        return penalty - trace.elbo.mean(), {"moment_matching": penalty.detach()}


def _mean_covariance(posterior: Distribution) -> Tensor:
    """The covariance of each image's posterior, averaged over the images, (D, D)."""
    if isinstance(posterior, MultivariateNormal):
        return at_least_float32(posterior.covariance_matrix).mean(0)
    return at_least_float32(posterior.variance).mean(0).diag()


def covariance_over_images(vectors: Tensor) -> Tensor:
    """The covariance of the columns, divided by the number of rows.

    Shape:
        vectors (B, D); returns (D, D).
    """
    vectors = at_least_float32(vectors)
    return torch.cov(vectors.T, correction=0).reshape(vectors.shape[1], vectors.shape[1])
