"""Maximum mean discrepancy: InfoVAE and the Wasserstein autoencoder."""

from collections.abc import Sequence
from typing import Literal

from torch import Size, Tensor
from torch.distributions import Distribution

from vae_lightning.distributions.categorical import CategoricalVariables
from vae_lightning.distributions.point_mass import PointMass
from vae_lightning.models.trace import Latent, Trace
from vae_lightning.objectives.objective import Objective
from vae_lightning.objectives.trace_checks import (
    require_density,
    require_fixed_prior,
    require_single_layer,
    require_vectors,
)
from vae_lightning.utils.checks import at_least, positive
from vae_lightning.utils.precision import at_least_float32

Kernel = Literal["inverse_multiquadratic", "rbf"]


class MMD(Objective):
    r"""Distortion, weighted rate, and the maximum mean discrepancy between q(z) and the prior.

    .. math:: \mathcal{L} = \mathbb{E}_{q(z|x)} [-\log p(x|z)] + r\, \mathrm{KL}(q(z|x) \,\|\, p(z))
              + m\, \mathrm{MMD}^2(q(z), p(z))

    where q(z) is the aggregate posterior, the mean over the images. In terms of InfoVAE,
    :math:`r = 1 - \alpha` and :math:`m = \alpha + \lambda - 1`. With r = 0 this is the Wasserstein
    autoencoder, for which the posterior may be deterministic; with r = 1 and m = 0 minus the ELBO.

    Args:
        num_samples: K, number of posterior samples that estimate the expectations; each is compared
            with as many samples of the prior as there are images.
        rate_weight: r.
        mmd_weight: m, in nats.
        kernel: `inverse_multiquadratic` or `rbf`; see `squared_mmd`.
        scales: the kernel is summed over these scales.

    Raises:
        ValueError: `num_samples` below 1, a weight below 0, no scales or one that is not positive.

    References:
        Zhao, Song and Ermon, "InfoVAE: Balancing Learning and Inference in Variational
        Autoencoders", 2019. https://arxiv.org/abs/1706.02262
        Tolstikhin, Bousquet, Gelly and Schölkopf, "Wasserstein Auto-Encoders", 2018.
        https://arxiv.org/abs/1711.01558

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> from vae_lightning.models.trace import Latent, Trace
        >>> x = torch.rand(8, 1, 28, 28)
        >>> posterior = Independent(Normal(torch.zeros(8, 2, requires_grad=True), 1.0), 1)
        >>> prior = Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> latent = Latent(posterior.rsample((1,)), posterior, prior)
        >>> trace = Trace(x, [latent], Independent(Normal(torch.zeros(1, 8, 1, 28, 28), 1.0), 3))
        >>> objective = MMD(1, rate_weight=0.0, mmd_weight=10.0, kernel="rbf", scales=[1.0])
        >>> loss, parts = objective(trace, step=0)
        >>> sorted(parts)
        ['mmd']
    """

    def __init__(
        self,
        num_samples: int,
        rate_weight: float,
        mmd_weight: float,
        kernel: Kernel,
        scales: Sequence[float],
    ) -> None:
        super().__init__(num_samples)
        at_least("rate_weight", rate_weight, 0)
        at_least("mmd_weight", mmd_weight, 0)
        if not scales:
            raise ValueError("scales=[] leaves no kernel: give at least one")
        for scale in scales:
            positive("scales", scale)
        self.rate_weight = rate_weight
        self.mmd_weight = mmd_weight
        self.kernel: Kernel = kernel
        self.scales = tuple(scales)

    def loss(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss = trace.distortion.mean()
        if self.rate_weight:
            require_density(trace)
            loss = loss + self.rate_weight * trace.rate.mean()
        if not self.mmd_weight:
            return loss, {}
        latent = require_single_layer(trace, "the maximum mean discrepancy")
        require_vectors(latent, "the maximum mean discrepancy")
        z = at_least_float32(latent.z.flatten(2))  # (K, B, D)
        # A prior that differs between images is sampled once for each, like the posteriors.
        count = z.shape[:1] if latent.prior.batch_shape else z.shape[:2]
        drawn = at_least_float32(_drawn(latent, Size(count)).flatten(2))
        if not self.rate_weight:
            scored = not isinstance(latent.posterior, PointMass)
            require_fixed_prior(
                latent,
                "the maximum mean discrepancy alone does not train",
                ", or objective.rate_weight=0.5" if scored else "",
            )
        mmd = squared_mmd(z, drawn, self.kernel, self.scales).mean()
        return loss + self.mmd_weight * mmd, {"mmd": mmd.detach()}


def _drawn(latent: Latent, count: Size) -> Tensor:
    """Draw samples of the prior, relaxed if those of the posterior are."""
    prior: Distribution = latent.prior
    if prior.has_rsample:
        return prior.rsample(count)
    if isinstance(latent.posterior, CategoricalVariables):
        # Reparameterised samples are relaxed, other samples one-hot.
        raise ValueError(
            "the maximum mean discrepancy compares relaxed samples, which this prior cannot draw: "
            "choose model/prior=uniform_categorical"
        )
    return prior.sample(count)


def squared_mmd(x: Tensor, y: Tensor, kernel: Kernel, scales: Sequence[float]) -> Tensor:
    r"""Unbiased estimate of the squared maximum mean discrepancy between two distributions.

    .. math:: \frac{1}{n (n-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{n (n-1)} \sum_{i \ne j}
              k(y_i, y_j) - \frac{2}{n^2} \sum_{i, j} k(x_i, y_j)

    with, summed over the scales s and :math:`C = 2 D s`, D the number of dimensions,

    .. math:: k(a, b) = \frac{C}{C + \|a - b\|^2} \quad \text{or} \quad e^{-\|a - b\|^2 / C}

    for `inverse_multiquadratic` and `rbf`. At s = 1, C is the mean squared distance of two samples
    of a standard normal. The estimate can be negative, since it is unbiased. For a single sample it
    is zero.

    Shape:
        x, y (..., n, D); returns (...).

    References:
        Gretton, Borgwardt, Rasch, Schölkopf and Smola, "A Kernel Two-Sample Test", 2012.
    """
    count = x.shape[-2]
    if count < 2:
        return x.new_zeros(x.shape[:-2])
    within = _off_diagonal(_similarity(x, x, kernel, scales)) + _off_diagonal(
        _similarity(y, y, kernel, scales)
    )
    across = _similarity(x, y, kernel, scales).sum((-2, -1))
    return within / (count * (count - 1)) - 2 * across / count**2


def _similarity(x: Tensor, y: Tensor, kernel: Kernel, scales: Sequence[float]) -> Tensor:
    """The kernel of all pairs, (..., n, n)."""
    # Not `torch.cdist`, whose gradient is undefined at distance zero.
    lengths = x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1).unsqueeze(-2)
    squares = (lengths - 2 * x @ y.mT).clamp_min(0)
    widths = [2 * x.shape[-1] * scale for scale in scales]
    if kernel == "rbf":
        terms = [(-squares / width).exp() for width in widths]
    else:
        terms = [width / (width + squares) for width in widths]
    return sum(terms[1:], start=terms[0])


def _off_diagonal(matrix: Tensor) -> Tensor:
    """The sum over pairs of different samples, (...)."""
    return matrix.sum((-2, -1)) - matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
