r"""A mixture of normals fitted to the aggregate posterior, to draw latents from.

.. math:: q(z) = \frac{1}{N} \sum_{i=1}^N q(z|x_i) \approx \sum_c \pi_c\,
          \mathcal{N}(z \mid \mu_c, \Sigma_c)

The decoder has seen latents of q(z) alone. Where the prior puts its mass elsewhere, as that of an
autoencoder does, which knows none, samples from the mixture are better.

References:
    Ghosh, Sajjadi, Vergari, Black and Schölkopf, "From Variational to Deterministic
    Autoencoders", 2020 (density estimation after training).
"""

import warnings
from typing import Any

import torch
from torch import Tensor

from vae_lightning.errors import ConfigError
from vae_lightning.models import Model
from vae_lightning.models.vector_quantized import VectorQuantized

# More change the mixture little, and take long.
_FITTED_TO = 10_000
_ENCODED = 1_000


class NormalMixtureOfLatents:
    """A mixture of normals with full covariances.

    Args:
        weights: (C,), summing to 1.
        means: (C, D).
        factors: lower triangles L with covariance L L^T, (C, D, D).
    """

    def __init__(self, weights: Tensor, means: Tensor, factors: Tensor) -> None:
        self.weights, self.means, self.factors = weights, means, factors

    def sample(self, count: int, temperature: float) -> Tensor:
        """Draw from components chosen by weight, each with its spread times the temperature.

        Shape:
            returns (count, D).
        """
        chosen = torch.multinomial(self.weights, count, replacement=True)
        noise = temperature * torch.randn_like(self.means[chosen])
        for component, factor in enumerate(self.factors):
            rows = chosen == component
            noise[rows] = noise[rows] @ factor.T
        return noise + self.means[chosen]


def check_fits(model: Model) -> None:
    """Refuse a model whose latents no normals can be fitted to.

    Raises:
        ValueError: they are codes, or not on the plane.
    """
    if isinstance(model, VectorQuantized):
        found = "are codes"
    elif model.latent_space != "euclidean":
        found = f"are on the {model.latent_space}"
    else:
        return
    raise ValueError(
        f"draw_from=mixture is of normals, and the latents of this model {found}: "
        "leave mode.draw_from=prior"
    )


@torch.no_grad()
def fit_mixture(
    model: Model, images: Tensor, labels: Tensor, components: int, seed: int
) -> tuple[NormalMixtureOfLatents, dict[str, Any]]:
    """Fit to one sample of the posterior of each of some images, of all layers side by side.

    Args:
        model: in evaluation mode.
        images: of training; of more than 10,000 so many are chosen.
        labels: their classes.
        components: C.
        seed: of the choice and the fit; the samples' noise is torch's own.

    Shape:
        images uint8 (N, C, H, W); labels int64 (N,).

    Returns:
        the mixture, and what is to be said of the fit.

    Raises:
        ConfigError: fewer images than components.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    if len(images) < components:
        raise ConfigError(
            f"mode.components={components} are too many: there are {len(images):,} training images"
        )
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    chosen = order[:_FITTED_TO]
    latents = torch.cat(
        [_posterior_samples(model, images[part], labels[part]) for part in chosen.split(_ENCODED)]
    )
    fit = GaussianMixture(components, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is in the facts
        fit.fit(latents.double().cpu().numpy())
    weights, means, covariances = (
        torch.as_tensor(part) for part in (fit.weights_, fit.means_, fit.covariances_)
    )
    mixture = NormalMixtureOfLatents(
        weights.to(latents), means.to(latents), torch.linalg.cholesky(covariances).to(latents)
    )
    return mixture, {
        "components": components,
        "images": len(chosen),
        "of": len(images),
        "split": "train",
        "converged": bool(fit.converged_),
    }


def _posterior_samples(model: Model, images: Tensor, labels: Tensor) -> Tensor:
    shown = images.to(model.device, torch.float32).div_(255)
    layers = model.infer(shown, 1, labels.to(model.device))
    return torch.cat([latent.z[0] for latent in layers], dim=-1)  # (B, D)
