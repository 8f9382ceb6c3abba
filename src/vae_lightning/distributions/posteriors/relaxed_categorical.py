"""The posterior of categorical variables, relaxed in training."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.categorical import CategoricalVariables, variables_of
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.utils.checks import positive

# Below it, weights that float32 cannot hold are drawn often, and their logarithms are wrong.
_LEAST_SCORED = 0.5


class RelaxedCategorical(Posterior):
    r"""Independent categorical variables, whose logits are linear in the features.

    .. math:: q(z|x) = \prod_v \mathrm{Cat}(z_v \mid \pi_v(x))

    In training, samples are relaxed to the inside of the simplex, so that they have a gradient, and
    log-densities are those of the concrete distribution. In evaluation, samples are one-hot and
    log-probabilities exact, so that the bounds are those of the discrete model.

    Args:
        in_features: F, number of features that the encoder gives.
        latent_dim: D, all categories of all variables.
        categories: C, of each variable; there are D / C variables.
        temperature: of the relaxed samples: the lower, the nearer they are to one-hot vectors, and
            the larger the variance of their gradients.

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (D,).

    Raises:
        ValueError: fewer than 2 categories, a `latent_dim` that they do not divide, or a
            temperature that is not a finite number above 0.

    References:
        Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", 2017.
        Maddison, Mnih and Teh, "The Concrete Distribution: A Continuous Relaxation of Discrete
        Random Variables", 2017.
    """

    space = "simplex"

    def __init__(
        self, in_features: int, latent_dim: int, categories: int, temperature: float
    ) -> None:
        super().__init__()
        positive("temperature", temperature)
        self.shape = (variables_of(latent_dim, categories), categories)
        self.temperature = temperature
        self.head = nn.Linear(in_features, latent_dim)

    def check_scored(self, purpose: str) -> None:
        if self.temperature < _LEAST_SCORED:
            raise ValueError(
                f"{purpose} cannot score samples of temperature={self.temperature}, whose weights "
                f"are too small for float32: choose model.posterior.temperature={_LEAST_SCORED} or "
                "more, or objective=elbo with model/prior=uniform_categorical"
            )

    def forward(self, features: Tensor) -> Distribution:
        logits = self.head(features).unflatten(-1, self.shape)  # (..., V, C)
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()  # of half precision, small weights would be none
        return CategoricalVariables(logits, self.temperature if self.training else 0.0)
