"""Categorical variables as vectors: one-hot, or relaxed into the simplex."""

import math
from typing import Any, ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import register_kl

from vae_lightning.distributions.divergence import DrawnWithDensity
from vae_lightning.utils.checks import at_least


class CategoricalVariables(DrawnWithDensity):
    r"""Independent categorical variables, each as a vector of a category's weights, side by side.

    At a temperature of 0 the vectors z are one-hot, and of a variable

    .. math:: \log p(z) = \sum_c z_c \log \pi_c

    Above it they are relaxed to

    .. math:: z_c = \frac{\exp((\log \pi_c + g_c) / \tau)}{\sum_b \exp((\log \pi_b + g_b) / \tau)},
        \quad g_c = -\log(-\log u_c), \quad u_c \sim \mathcal{U}(0, 1)

    which is reparameterised, and has the concrete density on the simplex of C categories,

    .. math:: \log p(z) = \log \Gamma(C) + (C - 1) \log \tau
        + \sum_c (\log \pi_c - (\tau + 1) \log z_c)
        - C \log \sum_c \pi_c z_c^{-\tau}

    Samples by `sample` are one-hot at any temperature, to make pictures of; the category with the
    largest weight is distributed alike at all.

    The KL divergence is that of the one-hot variables, exact, at any temperature:

    .. math:: \mathrm{KL}(q \,\|\, p) = \sum_v \sum_c \pi^q_{vc} (\log \pi^q_{vc} - \log \pi^p_{vc})

    With relaxed samples it makes Jang et al.'s objective, which is no bound. Importance weights are
    the ratios of the densities, both concrete or both of categories, and so a bound in either case:
    of the relaxed model, as with Maddison et al., or of the discrete one.

    Args:
        logits: of the categories of each variable, up to a constant.
        temperature: tau, at least 0.

    Shape:
        logits (..., V, C); batch shape (...), event shape (V*C,).

    References:
        Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", 2017.
        Maddison, Mnih and Teh, "The Concrete Distribution: A Continuous Relaxation of Discrete
        Random Variables", 2017.
    """

    has_rsample = True
    arg_constraints: ClassVar = {}

    def __init__(self, logits: Tensor, temperature: float) -> None:
        self.log_probs = torch.log_softmax(logits, -1)  # (..., V, C)
        self.temperature = temperature
        self.variables = logits.shape[-2:]
        event_shape = Size((self.variables.numel(),))
        super().__init__(logits.shape[:-2], event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The probabilities, (..., V*C): the mean of the one-hot vectors."""
        return self.log_probs.exp().flatten(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of vectors (..., V*C), broadcast against the batch, in nats."""
        z = value.unflatten(-1, self.variables)
        if self.temperature == 0:
            return (z * self.log_probs).sum((-2, -1))
        return self._log_density(z.clamp_min(_floor(z.dtype)).log())

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw one-hot vectors, (*sample_shape, ..., V*C)."""
        with torch.no_grad():
            scores = self._scores(sample_shape)
            return _one_hot(scores).flatten(-2)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw vectors with a gradient, (*sample_shape, ..., V*C).

        One-hot ones have that of the mean in place of their own, which is none: a biased one.
        """
        return self.rsample_and_log_prob(Size(sample_shape))[0]

    def rsample_and_log_prob(self, sample_shape: Size) -> tuple[Tensor, Tensor]:
        scores = self._scores(sample_shape)
        if self.temperature == 0:
            probs = self.log_probs.exp()
            z = (_one_hot(scores) + (probs - probs.detach())).flatten(-2)
            return z, self.log_prob(z)
        # A weight that is too small for a number would have no logarithm. One floor for posterior
        # and prior, so that both score the same point.
        log_z = torch.log_softmax(scores / self.temperature, -1)
        log_z = log_z.clamp_min(math.log(_floor(log_z.dtype)))
        return log_z.exp().flatten(-2), self._log_density(log_z)

    def _scores(self, sample_shape: Any) -> Tensor:
        shape = Size(sample_shape) + self.log_probs.shape
        exponential = torch.empty(
            shape, dtype=self.log_probs.dtype, device=self.log_probs.device
        ).exponential_()
        tiny = torch.finfo(exponential.dtype).tiny
        return self.log_probs - exponential.clamp_min(tiny).log()

    def _log_density(self, log_z: Tensor) -> Tensor:
        categories = self.variables[-1]
        constant = math.lgamma(categories) + (categories - 1) * math.log(self.temperature)
        spread = torch.logsumexp(self.log_probs - self.temperature * log_z, -1)  # (..., V)
        terms = (self.log_probs - (self.temperature + 1) * log_z).sum(-1) - categories * spread
        return (constant + terms).sum(-1)


@register_kl(CategoricalVariables, CategoricalVariables)
def _kl_categorical(q: CategoricalVariables, p: CategoricalVariables) -> Tensor:
    if q.variables != p.variables:
        raise ValueError(
            f"posterior has variables of {q.variables[-1]} categories and the prior of "
            f"{p.variables[-1]}: set model.prior.categories={q.variables[-1]}"
        )
    return (q.log_probs.exp() * (q.log_probs - p.log_probs)).sum((-2, -1))


def _one_hot(scores: Tensor) -> Tensor:
    # By the place and not by `F.one_hot`, for which the host may wait for the largest.
    place = scores.argmax(-1, keepdim=True)
    return torch.zeros_like(scores).scatter_(-1, place, 1)


def _floor(dtype: torch.dtype) -> float:
    """A weight whose reciprocal can still be multiplied without becoming infinite."""
    return torch.finfo(dtype).tiny ** 0.75


def variables_of(latent_dim: int, categories: int) -> int:
    """How many variables of so many categories are in so many latent dimensions.

    Raises:
        ValueError: fewer than 2 categories, or a part of a variable would be left.
    """
    at_least("categories", categories, 2)
    if latent_dim % categories:
        raise ValueError(
            f"categories={categories} does not divide latent_dim={latent_dim}: a variable takes "
            f"{categories} dimensions, so choose a multiple of {categories} for model.latent_dim"
        )
    return latent_dim // categories
