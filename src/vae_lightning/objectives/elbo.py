"""The evidence lower bound."""

import torch
from torch import Tensor, nn

from vae_lightning.checks import at_least
from vae_lightning.models.trace import Trace


class ELBO(nn.Module):
    r"""Minus the evidence lower bound, averaged over samples and images.

    .. math:: \mathcal{L} = \mathbb{E}_{q(z|x)} [-\log p(x|z)]
              + \beta\, \mathrm{KL}(q(z|x) \,\|\, p(z))

    Args:
        num_samples: K, how many posterior samples estimate the expectation.
        beta: weight of the rate; 1 gives the bound, other values the beta-VAE.

    Raises:
        ValueError: `num_samples` below 1, or `beta` below 0.

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.
        Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational
        Framework", 2017.
    """

    def __init__(self, num_samples: int, beta: float) -> None:
        super().__init__()
        at_least("num_samples", num_samples, 1)
        at_least("beta", beta, 0)
        self.num_samples = num_samples
        self.beta = beta

    def forward(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, in nats per image, and named parts worth logging.

        Shape:
            returns a scalar, and scalars by name.
        """
        loss = torch.add(trace.distortion, trace.rate, alpha=self.beta).mean()
        auxiliary = {name: values.mean() for name, values in trace.auxiliary.items()}
        return sum(auxiliary.values(), start=loss), auxiliary
