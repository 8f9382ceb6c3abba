"""The uniform prior of categorical latents."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lightning.distributions.categorical import CategoricalVariables, variables_of
from vae_lightning.distributions.priors.prior import Encode, Prior
from vae_lightning.utils.checks import positive


class UniformCategorical(Prior):
    r"""Independent categorical variables with equal probabilities.

    .. math:: p(z) = \prod_v \mathrm{Cat}(z_v \mid 1/C, \dots, 1/C)

    In training, `log_prob` is the concrete density of relaxed vectors, in evaluation the
    log-probability of one-hot vectors. `sample` returns one-hot vectors in both modes.

    Args:
        latent_dim: D, number of categories of all variables together.
        categories: C, number of categories of each variable, as in the posterior.
        temperature: of the concrete density. Any temperature gives a bound in training; with that
            of the posterior, the sampled rate of a uniform posterior is zero.

    Shape:
        returns a distribution of batch shape () and event shape (D,).

    Raises:
        ValueError: `categories` is below 2 or does not divide `latent_dim`, or the temperature is
            not a finite number above 0.

    References:
        Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", 2017.
        https://arxiv.org/abs/1611.01144
        Maddison, Mnih and Teh, "The Concrete Distribution: A Continuous Relaxation of Discrete
        Random Variables", 2017. https://arxiv.org/abs/1611.00712

    Example:
        >>> prior = UniformCategorical(latent_dim=20, categories=10, temperature=0.67)
        >>> prior(encode=None).sample().sum()  # two variables; the encoder is not used
        tensor(2.)
    """

    space = "simplex"

    logits: Tensor

    def __init__(self, latent_dim: int, categories: int, temperature: float) -> None:
        super().__init__()
        positive("temperature", temperature)
        logits = torch.zeros(variables_of(latent_dim, categories), categories)
        self.register_buffer("logits", logits, persistent=False)
        self.temperature = temperature

    def forward(self, encode: Encode) -> Distribution:
        return CategoricalVariables(self.logits, self.temperature if self.training else 0.0)
