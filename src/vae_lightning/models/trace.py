"""What one pass through a model produced: the only thing that objectives and metrics see.

Shapes: K posterior samples, B images. Everything is in nats per image; nothing is averaged.
A quantity is computed when it is first read, so an objective pays only for what it uses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor
from torch.distributions import Distribution

from vae_lightning.distributions.kl import closed_form


@dataclass(frozen=True)
class Latent:
    """One stochastic layer.

    Attributes:
        z: samples of the posterior, (K, B, *event).
        posterior: q(z|x), batch shape (B,).
        prior: p(z), batch shape () or (B,). Both have batch shape (K, B) where they depend on the
            samples of another layer.
        drawn_log_q: log-density of the samples, (K, B), where it came with them.
    """

    z: Tensor
    posterior: Distribution
    prior: Distribution
    drawn_log_q: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """The posterior's mean for each image, (B, *event); over all samples of other layers."""
        mean = self.posterior.mean
        return mean.mean(0) if len(self.posterior.batch_shape) == 2 else mean

    @cached_property
    def log_q(self) -> Tensor:
        """Log-density of the samples under the posterior, (K, B)."""
        return self.posterior.log_prob(self.z) if self.drawn_log_q is None else self.drawn_log_q

    @cached_property
    def log_p(self) -> Tensor:
        """Log-density of the samples under the prior, (K, B)."""
        return self.prior.log_prob(self.z)

    @cached_property
    def rate(self) -> Tensor:
        """KL to the prior, (K, B): in closed form where torch has it, else log q - log p.

        The closed form is the same for every sample; the other is an unbiased estimate.
        """
        known = closed_form(self.posterior, self.prior)
        if known is None:
            return self.log_q - self.log_p
        return known.expand(self.z.shape[0], -1)


@dataclass(frozen=True)
class Trace:
    """One pass of a batch through a model.

    Attributes:
        x: the images, (B, C, H, W), in [0, 1].
        latents: one or more stochastic layers.
        likelihood: p(x|z), batch shape (K, B), event shape (C, H, W).
        auxiliary: further losses of the model, by name, each (B,).
    """

    x: Tensor
    latents: Sequence[Latent]
    likelihood: Distribution
    auxiliary: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def log_likelihood(self) -> Tensor:
        """Log p(x|z), (K, B)."""
        return self.likelihood.log_prob(self.x)

    @cached_property
    def distortion(self) -> Tensor:
        """-log p(x|z), (K, B)."""
        return -self.log_likelihood

    @cached_property
    def rate(self) -> Tensor:
        """Sum of the latents' rates, (K, B); never scaled."""
        total = self.latents[0].rate
        for latent in self.latents[1:]:
            total = total + latent.rate
        return total

    @cached_property
    def log_weight(self) -> Tensor:
        """Log p(x, z) - log q(z|x), (K, B): the log importance weights."""
        total = self.log_likelihood
        for latent in self.latents:
            total = total + (latent.log_p - latent.log_q)
        return total

    @cached_property
    def elbo(self) -> Tensor:
        """Evidence lower bound, (K, B): log-likelihood minus rate; to be maximised."""
        return self.log_likelihood - self.rate
