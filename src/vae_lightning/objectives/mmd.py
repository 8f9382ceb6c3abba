"""Aggregate posterior and prior compared by samples: InfoVAE, and the Wasserstein autoencoder."""

from collections.abc import Sequence
from typing import Literal

from torch import Size, Tensor
from torch.distributions import Distribution

from vae_lightning.distributions.categorical import CategoricalVariables
from vae_lightning.models.trace import Latent, Trace
from vae_lightning.objectives.objective import Objective
from vae_lightning.objectives.trace_checks import (
    require_density,
    require_fixed_prior,
    require_single_layer,
    require_vectors,
)
from vae_lightning.utils.checks import at_least, positive

Kernel = Literal["inverse_multiquadratic", "rbf"]


class MMD(Objective):
    r"""Distortion, weighted rate, and the maximum mean discrepancy from the prior.

    .. math:: \mathcal{L} = \mathbb{E}_{q(z|x)} [-\log p(x|z)] + r\, \mathrm{KL}(q(z|x) \,\|\, p(z))
              + m\, \mathrm{MMD}^2(q(z), p(z))

    where q(z) is the posterior averaged over the images. InfoVAE's alpha and lambda are
    :math:`r = 1 - \alpha` and :math:`m = \alpha + \lambda - 1`; with r = 0 this is the Wasserstein
    autoencoder, also for a posterior without noise; with r = 1 and m = 0 the ELBO.

    Args:
        num_samples: K, how many posterior samples estimate the expectations; each is compared with
            as many samples of the prior as there are images.
        rate_weight: r.
        mmd_weight: m, in nats.
        kernel: see `squared_mmd`.
        scales: of the kernel: the sum over them is taken.

    Raises:
        ValueError: `num_samples` below 1, a weight below 0, no scales or one that is not positive.

    References:
        Zhao, Song and Ermon, "InfoVAE: Balancing Learning and Inference in Variational
        Autoencoders", 2019.
        Tolstikhin, Bousquet, Gelly and Schölkopf, "Wasserstein Auto-Encoders", 2018.
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
        if not self.rate_weight:
            require_fixed_prior(
                latent,
                "the maximum mean discrepancy alone does not train",
                ", or objective.rate_weight=0.5",
            )
        z = latent.z.flatten(2)  # (K, B, D)
        # A prior of each image's own is drawn from once for each, as the posteriors are.
        count = z.shape[:1] if latent.prior.batch_shape else z.shape[:2]
        drawn = _drawn(latent, Size(count)).flatten(2)
        mmd = squared_mmd(z, drawn, self.kernel, self.scales).mean()
        return loss + self.mmd_weight * mmd, {"mmd": mmd.detach()}


def _drawn(latent: Latent, count: Size) -> Tensor:
    """Samples of the prior, in the form in which those of the posterior come."""
    prior: Distribution = latent.prior
    if prior.has_rsample:
        return prior.rsample(count)
    if isinstance(latent.posterior, CategoricalVariables):
        # Relaxed in samples that gradients pass through, and one-hot in the others.
        raise ValueError(
            "the maximum mean discrepancy compares relaxed samples, which this prior has none of: "
            "choose model/prior=uniform_categorical"
        )
    return prior.sample(count)


def squared_mmd(x: Tensor, y: Tensor, kernel: Kernel, scales: Sequence[float]) -> Tensor:
    r"""Unbiased estimate of the squared maximum mean discrepancy of two laws, from samples.

    .. math:: \frac{1}{n (n-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{n (n-1)} \sum_{i \ne j}
              k(y_i, y_j) - \frac{2}{n^2} \sum_{i, j} k(x_i, y_j)

    with, summed over the scales s and :math:`C = 2 D s`, D the number of dimensions,

    .. math:: k(a, b) = \frac{C}{C + \|a - b\|^2} \quad \text{or} \quad e^{-\|a - b\|^2 / C}

    for `inverse_multiquadratic` and `rbf`. At s = 1, C is the mean squared distance of two samples
    of a standard normal. Being unbiased, the estimate falls below zero where the laws agree. A
    single sample has no pairs, and the estimate is zero.

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
    # Not `torch.cdist`, whose root has no gradient at a distance of zero.
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
