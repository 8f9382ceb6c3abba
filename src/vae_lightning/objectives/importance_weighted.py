"""The importance-weighted bound."""

import math

from torch import Tensor, nn

from vae_lightning.checks import at_least
from vae_lightning.models.trace import Trace


class ImportanceWeighted(nn.Module):
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
        super().__init__()
        at_least("num_samples", num_samples, 1)
        self.num_samples = num_samples

    def forward(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, in nats per image, and named parts worth logging.

        Shape:
            returns a scalar, and scalars by name.
        """
        bound = trace.log_weight.logsumexp(0) - math.log(self.num_samples)  # (B,)
        auxiliary = {name: values.mean() for name, values in trace.auxiliary.items()}
        return sum(auxiliary.values(), start=-bound.mean()), auxiliary
