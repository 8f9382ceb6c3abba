"""The result of one pass of a batch through a model, which objectives and metrics read.

Shapes: K posterior samples, B images. Every quantity is in nats per image, is not averaged, and is
computed when it is first read. It is in float32 at least, whatever the precision of the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lightning.distributions.kl import closed_form, rate_per_dimension
from vae_lightning.utils.precision import at_least_float32


@dataclass(frozen=True)
class Latent:
    """One stochastic layer.

    Attributes:
        z: samples of the posterior, (K, B, *event).
        posterior: q(z|x), batch shape (B,).
        prior: p(z), batch shape () or (B,). A posterior or a prior that depends on the samples of
            another layer has batch shape (K, B).
        drawn_log_q: log-density of the samples, (K, B), if it was computed when they were drawn.
    """

    z: Tensor
    posterior: Distribution
    prior: Distribution
    drawn_log_q: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """The posterior's mean for each image, (B, *event), averaged over other layers' samples."""
        mean = self.posterior.mean
        return mean.mean(0) if len(self.posterior.batch_shape) == 2 else mean

    @cached_property
    def log_q(self) -> Tensor:
        """Log-density of the samples under the posterior, (K, B)."""
        log_q = self.posterior.log_prob(self.z) if self.drawn_log_q is None else self.drawn_log_q
        return at_least_float32(log_q)

    @cached_property
    def log_p(self) -> Tensor:
        """Log-density of the samples under the prior, (K, B)."""
        return at_least_float32(self.prior.log_prob(self.z))

    @cached_property
    def rate(self) -> Tensor:
        """KL to the prior, (K, B): in closed form if torch has one, otherwise log q - log p.

        The closed form is the same for every sample; log q - log p is an unbiased estimate.
        """
        if self.z.dtype in (torch.float16, torch.bfloat16):
            # A sum in half precision is rounded to a sixteenth of a nat.
            parts = rate_per_dimension(self.posterior, self.prior)
            if parts is not None:
                parts = parts.float().flatten(len(self.posterior.batch_shape)).sum(-1)
                return parts.expand(self.z.shape[:2])
        known = closed_form(self.posterior, self.prior)
        if known is None:
            return self.log_q - self.log_p
        return at_least_float32(known).expand(self.z.shape[0], -1)


@dataclass(frozen=True)
class Trace:
    """One pass of a batch through a model.

    Attributes:
        x: the images, (B, C, H, W), in [0, 1].
        latents: one or more stochastic layers.
        likelihood: p(x|z), batch shape (K, B), event shape (C, H, W).
        auxiliary: auxiliary losses of the model, by name, each (B,).
    """

    x: Tensor
    latents: Sequence[Latent]
    likelihood: Distribution
    auxiliary: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def log_likelihood(self) -> Tensor:
        """Log p(x|z), (K, B)."""
        return at_least_float32(self.likelihood.log_prob(self.x))

    @cached_property
    def distortion(self) -> Tensor:
        """-log p(x|z), (K, B)."""
        return -self.log_likelihood

    @cached_property
    def rate(self) -> Tensor:
        """Sum of the layers' rates, (K, B); never scaled by an objective."""
        total = self.latents[0].rate
        for latent in self.latents[1:]:
            total = total + latent.rate
        return total

    @cached_property
    def log_weight(self) -> Tensor:
        """Log importance weights, log p(x, z) - log q(z|x), (K, B)."""
        total = self.log_likelihood
        for latent in self.latents:
            total = total + (latent.log_p - latent.log_q)
        return total

    @cached_property
    def elbo(self) -> Tensor:
        """Evidence lower bound, (K, B): log-likelihood minus rate."""
        return self.log_likelihood - self.rate
