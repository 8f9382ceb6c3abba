"""The evidence lower bound."""

import torch
from torch import Tensor

from vae_lightning.distributions.kl import rate_per_dimension
from vae_lightning.models.trace import Latent, Trace
from vae_lightning.objectives.objective import Objective
from vae_lightning.objectives.schedules import Schedule
from vae_lightning.objectives.trace_checks import require_density
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.precision import at_least_float32


class ELBO(Objective):
    r"""Minus the evidence lower bound, averaged over samples and images.

    .. math:: \mathcal{L} = \mathbb{E}_{q(z|x)} [-\log p(x|z)]
              + \beta\, \sum_j \max(\lambda, \mathrm{KL}_j)

    where KL_j are the terms of the rate, averaged over the images. A layer has one for each latent
    dimension if its posterior and its prior factorise over the dimensions and their KL divergence
    has a closed form, as that of a diagonal normal from a standard normal; otherwise, as with a
    posterior `full_normal` or `flow`, or a prior `mixture`, `vamp` or `flow`, one in all.

    Args:
        num_samples: K, number of posterior samples that estimate the expectation.
        beta: weight of the rate; 1 gives the bound, other values the beta-VAE.
        schedule: factor of `beta` at each step. A low weight at first (KL warm-up) reduces
            posterior collapse.
        free_bits: lambda, nats of each term of the rate that are free of cost: of a dimension, or
            of a whole layer.

    Raises:
        ValueError: `num_samples` below 1, `beta` or `free_bits` below 0.

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.
        https://arxiv.org/abs/1312.6114
        Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational
        Framework", 2017.
        Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", 2016
        (free bits). https://arxiv.org/abs/1606.04934

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> from vae_lightning.models.trace import Latent, Trace
        >>> x = torch.rand(8, 1, 28, 28)
        >>> posterior = Independent(Normal(torch.zeros(8, 2, requires_grad=True), 1.0), 1)
        >>> prior = Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> latent = Latent(posterior.rsample((1,)), posterior, prior)
        >>> trace = Trace(x, [latent], Independent(Normal(torch.zeros(1, 8, 1, 28, 28), 1.0), 3))
        >>> from vae_lightning.objectives.schedules import Constant
        >>> objective = ELBO(num_samples=1, beta=1.0, schedule=Constant(), free_bits=0.0)
        >>> loss, parts = objective(trace, step=0)
        >>> bool(loss == -trace.elbo.mean())
        True
    """

    def __init__(self, num_samples: int, beta: float, schedule: Schedule, free_bits: float) -> None:
        super().__init__(num_samples)
        at_least("beta", beta, 0)
        at_least("free_bits", free_bits, 0)
        self.beta = beta
        self.schedule = schedule
        self.free_bits = free_bits

    def loss(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        require_density(trace)
        weight = self.schedule.at(step) * self.beta
        if not self.free_bits:
            return torch.add(trace.distortion, trace.rate, alpha=weight).mean(), {}
        charged = torch.stack([self._charged(latent) for latent in trace.latents]).sum()
        return trace.distortion.mean() + weight * charged, {}

    def _charged(self, latent: Latent) -> Tensor:
        parts = rate_per_dimension(latent.posterior, latent.prior)
        if parts is None:
            return latent.rate.mean().clamp_min(self.free_bits)
        parts = at_least_float32(parts)
        return parts.flatten(0, -2).mean(0).clamp_min(self.free_bits).sum()
