"""The posterior of categorical latents, relaxed in training."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.categorical import CategoricalVariables, variables_of
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.utils.checks import positive

# At lower temperatures, weights often underflow in float32, and their logarithms are wrong.
_MIN_SCORED = 0.5


class RelaxedCategorical(Posterior):
    r"""Independent categorical variables with logits that are linear in the features.

    .. math:: q(z|x) = \prod_v \mathrm{Cat}(z_v \mid \pi_v(x))

    In training, samples are relaxed (Gumbel-softmax), so that they have a gradient, and
    log-densities are those of the concrete distribution. In evaluation, samples are one-hot and
    log-probabilities are exact, so bounds are those of the discrete model.

    Args:
        in_features: F, number of features of the encoder.
        latent_dim: D, number of categories of all variables together.
        categories: C, number of categories of each variable; there are D / C variables.
        temperature: of the relaxed samples. At a lower temperature they are closer to one-hot
            vectors, and their gradients have a larger variance.

    Shape:
        features (..., F); returns a distribution of batch shape (...) and event shape (D,).

    Raises:
        ValueError: `categories` is below 2 or does not divide `latent_dim`, or the temperature is
            not a finite number above 0.

    References:
        Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", 2017.
        https://arxiv.org/abs/1611.01144
        Maddison, Mnih and Teh, "The Concrete Distribution: A Continuous Relaxation of Discrete
        Random Variables", 2017. https://arxiv.org/abs/1611.00712

    Example:
        >>> import torch
        >>> posterior = RelaxedCategorical(400, latent_dim=20, categories=10, temperature=0.67)
        >>> q = posterior(torch.randn(128, 400))  # two variables
        >>> q.rsample().shape
        torch.Size([128, 20])
        >>> posterior.eval()(torch.randn(1, 400)).sample().sum()
        tensor(2.)
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
        if self.temperature < _MIN_SCORED:
            raise ValueError(
                f"{purpose} cannot score samples of temperature={self.temperature}, whose weights "
                f"are too small for float32: choose model.posterior.temperature={_MIN_SCORED} or "
                "more, or objective=elbo with model/prior=uniform_categorical"
            )

    def forward(self, features: Tensor) -> Distribution:
        logits = self.head(features).unflatten(-1, self.shape)  # (..., V, C)
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()  # small weights underflow in half precision
        return CategoricalVariables(logits, self.temperature if self.training else 0.0)
