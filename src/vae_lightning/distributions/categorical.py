"""Categorical variables as one-hot vectors, or relaxed to the simplex."""

import math
from typing import Any, ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import register_kl

from vae_lightning.distributions.sampling import RsampleAndLogProb
from vae_lightning.utils.checks import at_least


class CategoricalVariables(RsampleAndLogProb):
    r"""Independent categorical variables, as one-hot or relaxed vectors that are concatenated.

    At temperature 0 the vector z of a variable is one-hot, with

    .. math:: \log p(z) = \sum_c z_c \log \pi_c

    At a positive temperature it is relaxed (Gumbel-softmax, also known as concrete):

    .. math:: z_c = \frac{\exp((\log \pi_c + g_c) / \tau)}{\sum_b \exp((\log \pi_b + g_b) / \tau)},
        \quad g_c = -\log(-\log u_c), \quad u_c \sim \mathcal{U}(0, 1)

    Samples are reparameterised, with the concrete density on the simplex of C categories,

    .. math:: \log p(z) = \log \Gamma(C) + (C - 1) \log \tau
        + \sum_c (\log \pi_c - (\tau + 1) \log z_c)
        - C \log \sum_c \pi_c z_c^{-\tau}

    `sample` returns one-hot vectors at any temperature, since the category with the largest weight
    has the same distribution at all of them.

    At any temperature, the KL divergence is the exact one of the one-hot variables:

    .. math:: \mathrm{KL}(q \,\|\, p) = \sum_v \sum_c \pi^q_{vc} (\log \pi^q_{vc} - \log \pi^p_{vc})

    With relaxed samples it gives the objective of Jang et al., which is not a bound. Importance
    weights are ratios of two concrete densities or of two probabilities, so they give a bound: of
    the relaxed model, as in Maddison et al., or of the discrete one.

    `torch.distributions.RelaxedOneHotCategorical` has the same density at a positive temperature,
    without the log-density of a sample in the same pass and with samples that underflow in float32.

    Args:
        logits: unnormalised log-probabilities of the categories of each variable.
        temperature: tau, at least 0.

    Shape:
        logits (..., V, C); batch shape (...), event shape (V*C,).

    References:
        Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", 2017.
        https://arxiv.org/abs/1611.01144
        Maddison, Mnih and Teh, "The Concrete Distribution: A Continuous Relaxation of Discrete
        Random Variables", 2017. https://arxiv.org/abs/1611.00712
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

        One-hot vectors have the straight-through gradient, which is that of the mean: a biased one.
        """
        return self.rsample_and_log_prob(Size(sample_shape))[0]

    def rsample_and_log_prob(self, sample_shape: Size) -> tuple[Tensor, Tensor]:
        scores = self._scores(sample_shape)
        if self.temperature == 0:
            probs = self.log_probs.exp()
            z = (_one_hot(scores) + (probs - probs.detach())).flatten(-2)
            return z, self.log_prob(z)
        # Weights that underflow have no logarithm. Posterior and prior use the same floor, so that
        # both score the same point.
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
            f"the posterior has variables of {q.variables[-1]} categories and the prior of "
            f"{p.variables[-1]}: set model.prior.categories={q.variables[-1]}"
        )
    return (q.log_probs.exp() * (q.log_probs - p.log_probs)).sum((-2, -1))


def _one_hot(scores: Tensor) -> Tensor:
    # `F.one_hot` synchronises CPU and GPU, to find the number of categories.
    index = scores.argmax(-1, keepdim=True)
    return torch.zeros_like(scores).scatter_(-1, index, 1)


def _floor(dtype: torch.dtype) -> float:
    """The smallest weight whose reciprocal can still be multiplied without overflow."""
    return torch.finfo(dtype).tiny ** 0.75


def variables_of(latent_dim: int, categories: int) -> int:
    """The number of categorical variables in a latent vector.

    Raises:
        ValueError: fewer than 2 categories, or `categories` does not divide `latent_dim`.
    """
    at_least("categories", categories, 2)
    if latent_dim % categories:
        raise ValueError(
            f"categories={categories} does not divide latent_dim={latent_dim}: a variable takes "
            f"{categories} dimensions, so choose a multiple of {categories} for model.latent_dim"
        )
    return latent_dim // categories
