"""The beta-TCVAE: the rate is split into three parts, each with a weight."""

import math

import torch
from torch import Tensor

from vae_lightning.models.trace import Trace
from vae_lightning.objectives.objective import Objective
from vae_lightning.objectives.trace_checks import (
    require_density,
    require_independent_dimensions,
    require_single_layer,
    require_vectors,
)
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.data_dependent import DataDependent, TrainingImages
from vae_lightning.utils.precision import at_least_float32


class TotalCorrelation(DataDependent, Objective):
    r"""Distortion, and the three weighted parts of the rate (beta-TCVAE).

    .. math:: \mathcal{L} = \mathbb{E}_{q(z|x)} [-\log p(x|z)] + \alpha\, I(x; z)
              + \beta\, \mathrm{KL}\Big(q(z) \,\Big\|\, \prod_j q(z_j)\Big)
              + \gamma \sum_j \mathrm{KL}(q(z_j) \,\|\, p(z_j))

    with the aggregate posterior of the N training images, :math:`q(z) = \frac{1}{N} \sum_{i=1}^N
    q(z|x_i)`. The three parts are the means over samples of :math:`\log q(z|x) - \log q(z)`,
    :math:`\log q(z) - \sum_j \log q(z_j)` and :math:`\sum_j \log q(z_j) - \log p(z)`. For any
    estimate of q(z) their sum is the sampled rate, so with all weights at 1 this is minus the ELBO.

    q(z) is estimated from a batch of B images. Let z be a sample for image n of the batch. The sum
    over i consists of the term of n itself, which is known, and N - 1 others. The B - 1 other
    images of the batch are drawn from those N - 1 without replacement, so their mean density times
    N - 1 is an unbiased estimate of the sum of the others:

    .. math:: q(z) \approx \frac{1}{N}\, q(z|x_n)
              + \frac{N - 1}{N}\, \frac{1}{B - 1} \sum_{m \ne n} q(z|x_m)

    In a matrix with a row for the image of a sample and a column for the image whose posterior
    scores it, the weights are 1/N on the diagonal and (N - 1) / (N (B - 1)) elsewhere. Each row
    sums to 1, and the estimated mutual information is at most log N. The weights belong to images:
    they enter the density of z once, not once for each dimension, and the density of each z_j once.
    In the paper's stratified sampling, one of the other images has a different weight; this is the
    mean over the choice of that image. The logarithm makes the estimate of each part biased. In a
    batch of one image, q(z) is estimated by the posterior of that image, times 1/N.

    Args:
        num_samples: K, number of posterior samples that estimate the expectations.
        alpha: weight of the mutual information.
        beta: weight of the total correlation.
        gamma: weight of the dimension-wise KL.

    Attributes:
        num_images: N; 0 before training, when the batch size is used in its place.

    Raises:
        ValueError: `num_samples` below 1, or a weight below 0.

    References:
        Chen, Li, Grosse and Duvenaud, "Isolating Sources of Disentanglement in Variational
        Autoencoders", 2018. https://arxiv.org/abs/1802.04942

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> from vae_lightning.models.trace import Latent, Trace
        >>> x = torch.rand(8, 1, 28, 28)
        >>> posterior = Independent(Normal(torch.zeros(8, 2, requires_grad=True), 1.0), 1)
        >>> prior = Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> latent = Latent(posterior.rsample((1,)), posterior, prior)
        >>> trace = Trace(x, [latent], Independent(Normal(torch.zeros(1, 8, 1, 28, 28), 1.0), 3))
        >>> objective = TotalCorrelation(1, alpha=1.0, beta=6.0, gamma=1.0)
        >>> loss, parts = objective(trace, step=0)
        >>> sorted(parts)
        ['dimension_wise_kl', 'mutual_information', 'total_correlation']
    """

    num_images: Tensor

    def __init__(self, num_samples: int, alpha: float, beta: float, gamma: float) -> None:
        super().__init__(num_samples)
        for name, weight in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
            at_least(name, weight, 0)
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        # Floating point: weight averaging averages buffers too, and would truncate an integer.
        self.register_buffer("num_images", torch.zeros(()))

    @torch.no_grad()
    def initialize_from(self, data: TrainingImages) -> None:
        self.num_images.fill_(data.num_images["train"])

    def loss(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        require_density(trace)
        latent = require_single_layer(trace, "total correlation")
        require_vectors(latent, "total correlation")
        posterior = require_independent_dimensions(latent.posterior, "posterior")
        require_independent_dimensions(latent.prior, "prior")
        # A row for the image of a sample, a column for the image whose posterior scores it.
        each = at_least_float32(posterior.log_prob(latent.z.unsqueeze(2)))  # (K, B, B, D)
        log_weights = self._log_weights(each.shape[1], each)  # (B, B)
        log_aggregate = (each.sum(-1) + log_weights).logsumexp(2)  # (K, B)
        log_marginals = (each + log_weights.unsqueeze(-1)).logsumexp(2).sum(-1)  # (K, B)
        mutual_information = (latent.log_q - log_aggregate).mean()
        total_correlation = (log_aggregate - log_marginals).mean()
        dimension_wise = (log_marginals - latent.log_p).mean()
        loss = (
            trace.distortion.mean()
            + self.alpha * mutual_information
            + self.beta * total_correlation
            + self.gamma * dimension_wise
        )
        return loss, {
            "mutual_information": mutual_information.detach(),
            "total_correlation": total_correlation.detach(),
            "dimension_wise_kl": dimension_wise.detach(),
        }

    def _log_weights(self, batch_size: int, like: Tensor) -> Tensor:
        """Log-weights of the images of a batch, (B, B), with the dtype of `like`."""
        total = self.num_images.to(like).clamp_min(batch_size)
        others = torch.log((total - 1) / total) - math.log(max(1, batch_size - 1))
        is_own = torch.eye(batch_size, dtype=torch.bool, device=like.device)
        return torch.where(is_own, -total.log(), others)
