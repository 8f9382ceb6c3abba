"""The uniform prior of categorical variables."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lightning.distributions.categorical import CategoricalVariables, variables_of
from vae_lightning.distributions.priors.prior import Encode, Prior
from vae_lightning.utils.checks import positive


class UniformCategorical(Prior):
    r"""Independent categorical variables, all categories as likely.

    .. math:: p(z) = \prod_v \mathrm{Cat}(z_v \mid 1/C, \dots, 1/C)

    In training it scores relaxed vectors, by the concrete density, and in evaluation one-hot ones.
    What it draws to make pictures of is one-hot in both.

    Args:
        latent_dim: D, all categories of all variables.
        categories: C, of each variable, as the posterior has them.
        temperature: of the concrete density. Any gives a bound in training; that of the posterior
            leaves nothing to pay for where the posterior is uniform as well.

    Shape:
        returns a distribution of batch shape () and event shape (D,).

    Raises:
        ValueError: fewer than 2 categories, a `latent_dim` that they do not divide, or a
            temperature that is not a finite number above 0.

    References:
        Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", 2017.
        Maddison, Mnih and Teh, "The Concrete Distribution: A Continuous Relaxation of Discrete
        Random Variables", 2017.
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
