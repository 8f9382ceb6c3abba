"""The importance-weighted bound."""

import math

from torch import Tensor

from vae_lightning.models.trace import Trace
from vae_lightning.objectives.objective import Objective


class ImportanceWeighted(Objective):
    r"""Minus the importance-weighted bound on log p(x), averaged over images.

    .. math:: \mathcal{L} = -\mathbb{E}_{z_1 \dots z_K \sim q(z|x)}
              \Big[ \log \frac{1}{K} \sum_{k=1}^K \frac{p(x, z_k)}{q(z_k|x)} \Big]

    With one sample this is the ELBO, its rate estimated from the sample; it tightens as K grows.

    Args:
        num_samples: K, how many posterior samples are weighed against each other.

    Raises:
        ValueError: `num_samples` below 1.

    References:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016.
    """

    def __init__(self, num_samples: int) -> None:
        super().__init__(num_samples)

    def loss(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        bound = trace.log_weight.logsumexp(0) - math.log(self.num_samples)  # (B,)
        return -bound.mean(), {}
