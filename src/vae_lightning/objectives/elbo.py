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
        warm_up_steps: over how many steps the weight rises from 0 to `beta`, in a straight line.
            Latent dimensions then find a use before the rate makes them conform to the prior.

    Raises:
        ValueError: `num_samples` below 1, `beta` or `warm_up_steps` below 0.

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.
        Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational
        Framework", 2017.
        Bowman et al., "Generating Sentences from a Continuous Space", 2016 (the warm-up).
    """

    def __init__(self, num_samples: int, beta: float, warm_up_steps: int) -> None:
        super().__init__()
        at_least("num_samples", num_samples, 1)
        at_least("beta", beta, 0)
        at_least("warm_up_steps", warm_up_steps, 0)
        self.num_samples = num_samples
        self.beta = beta
        self.warm_up_steps = warm_up_steps

    def forward(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, in nats per image, and named parts worth logging.

        Shape:
            returns a scalar, and scalars by name.
        """
        risen = min(1.0, step / self.warm_up_steps) if self.warm_up_steps else 1.0
        loss = torch.add(trace.distortion, trace.rate, alpha=risen * self.beta).mean()
        auxiliary = {name: values.mean() for name, values in trace.auxiliary.items()}
        return sum(auxiliary.values(), start=loss), auxiliary
