"""A VAE whose evidence is known exactly: a linear decoder, normal pixels, the true posterior."""

import math
from functools import partial

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from tiny import head, tiny_vae
from vae_lightning.distributions.likelihoods.normal import Normal as NormalLikelihood
from vae_lightning.distributions.monte_carlo import MonteCarloKL
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.models import VAE

SCALE = 0.5
SHAPES = [(1, 2, 2), (1, 2, 3)]
Shape = tuple[int, int, int]


class FullNormal(Posterior):
    """A normal posterior with correlated dimensions; its rate is sampled."""

    space = "euclidean"

    def __init__(self, weight: Tensor, bias: Tensor, covariance: Tensor) -> None:
        super().__init__()
        self.weight, self.bias, self.covariance = weight, bias, covariance

    def forward(self, features: Tensor) -> Distribution:
        mean = features @ self.weight.T + self.bias
        # Hidden from the closed form that its rate has, so that the sampled one is tested.
        return MonteCarloKL(MultivariateNormal(mean, self.covariance))


def linear_gaussian(shape: Shape, correlated: bool = False) -> VAE:
    """A linear VAE in float64 whose posterior is the true one.

    With orthogonal columns in the decoder the true posterior has independent dimensions, so that
    the package's own head can express it.
    """
    generator = torch.Generator().manual_seed(0)
    pixels = math.prod(shape)
    weight = torch.randn(pixels, 2, generator=generator, dtype=torch.float64)
    if not correlated:
        weight = torch.linalg.qr(weight).Q * torch.tensor([1.5, 0.7], dtype=torch.float64)
    bias = torch.rand(pixels, generator=generator, dtype=torch.float64)
    covariance = torch.linalg.inv(torch.eye(2) + weight.T @ weight / SCALE**2)
    to_mean = covariance @ weight.T / SCALE**2

    likelihood = partial(NormalLikelihood, scale=SCALE)
    model = tiny_vae(hidden=[], image_shape=shape, likelihood=likelihood).double()
    with torch.no_grad():
        head(model.likelihood).weight.copy_(weight)
        head(model.likelihood).bias.copy_(bias)
        if correlated:
            model.posterior = FullNormal(to_mean, -to_mean @ bias, covariance)
        else:
            head(model.posterior).weight.copy_(torch.cat([to_mean, torch.zeros_like(to_mean)]))
            log_variance = covariance.diagonal().log()
            head(model.posterior).bias.copy_(torch.cat([-to_mean @ bias, log_variance]))
    return model.requires_grad_(False)


def with_wrong_posterior(shape: Shape) -> VAE:
    """The same model, its posterior shifted and twice as wide."""
    model = linear_gaussian(shape)
    head(model.posterior).bias.add_(torch.tensor([0.3, -0.4, 2 * math.log(2), 2 * math.log(2)]))
    return model


def log_evidence(model: VAE, x: Tensor) -> Tensor:
    """The exact log p(x), (B,)."""
    weight, bias = head(model.likelihood).weight, head(model.likelihood).bias
    covariance = weight @ weight.T + SCALE**2 * torch.eye(len(bias))
    return MultivariateNormal(bias, covariance).log_prob(x.flatten(1))


def grey_images(shape: Shape = (1, 4, 4), dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(3, *shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
