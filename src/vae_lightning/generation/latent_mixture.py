r"""A mixture of normals fitted to the aggregate posterior, to draw latents from.

.. math:: q(z) = \frac{1}{N} \sum_{i=1}^N q(z|x_i) \approx \sum_c \pi_c\,
          \mathcal{N}(z \mid \mu_c, \Sigma_c)

The decoder was trained on latents of q(z) only. If the prior differs from it, as that of an
autoencoder does, samples from the mixture are better.

References:
    Ghosh, Sajjadi, Vergari, Black and Schölkopf, "From Variational to Deterministic
    Autoencoders", 2020 (density estimation after training), https://arxiv.org/abs/1903.12436
"""

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from vae_lightning.errors import ConfigError
from vae_lightning.generation.batches import in_batches
from vae_lightning.models import Model
from vae_lightning.models.vector_quantized import VectorQuantized
from vae_lightning.utils.pixels import to_float

# More images change the mixture little, and take long.
_MAX_IMAGES = 10_000
# Images encoded at once. Their noise is drawn together, so this is part of what a seed means.
_BATCH_SIZE = 1_000


def normal_mixture(
    weights: Tensor, means: Tensor, scale_tril: Tensor, temperature: float = 1.0
) -> MixtureSameFamily:
    r"""A mixture of normals with full covariances.

    .. math:: \sum_c \pi_c\, \mathcal{N}(z \mid \mu_c, T^2 L_c L_c^\top)

    Args:
        weights: pi, (C,), summing to 1.
        means: mu, (C, D).
        scale_tril: lower triangles L, (C, D, D).
        temperature: T; below 1, samples are nearer to the means.
    """
    normals = MultivariateNormal(means, scale_tril=temperature * scale_tril)
    return MixtureSameFamily(Categorical(weights), normals)


@torch.no_grad()
def sample_mixture(mixture: MixtureSameFamily, count: int) -> Tensor:
    """Draw the component of each sample first, and then the sample from that component alone.

    `MixtureSameFamily.sample` draws each sample from all C components and keeps one: C times the
    memory.

    Args:
        mixture: of `MultivariateNormal` components.
        count: of samples.

    Shape:
        returns (count, D).

    Example:
        >>> means = torch.tensor([[-50.0, 0.0], [50.0, 0.0]])
        >>> mixture = normal_mixture(torch.tensor([0.5, 0.5]), means, torch.eye(2).expand(2, 2, 2))
        >>> sample_mixture(mixture, 3).shape
        torch.Size([3, 2])
    """
    normals = mixture.component_distribution
    assert isinstance(normals, MultivariateNormal)
    components = mixture.mixture_distribution.sample(torch.Size((count,)))
    samples = normals.loc[components]
    noise = torch.randn_like(samples)
    for component, factor in enumerate(normals.scale_tril):
        rows = components == component
        samples[rows] += noise[rows] @ factor.T
    return samples


def check_euclidean(model: Model) -> None:
    """Check that normals can be fitted to the latents of a model.

    Raises:
        ValueError: its latents are codes, or not real vectors.
    """
    if isinstance(model, VectorQuantized):
        kind = "codes"
    elif model.latent_space != "euclidean":
        kind = f"on the {model.latent_space}"
    else:
        return
    raise ValueError(
        f"draw_from=mixture needs real vectors as latents, and those of this model are {kind}: "
        "choose mode.draw_from=prior"
    )


@torch.no_grad()
def fit_mixture(
    model: Model, images: Tensor, labels: Tensor, components: int, temperature: float, seed: int
) -> tuple[MixtureSameFamily, dict[str, Any]]:
    """Fit to one draw of q(z|x) for each image, with all layers of a hierarchical model.

    Args:
        model: in evaluation mode.
        images: of training; at most 10,000 of them are used, chosen at random.
        labels: their classes.
        components: C.
        temperature: of the mixture that is returned.
        seed: of the choice and the fit; the noise of the draws is torch's own.

    Shape:
        images uint8 (N, C, H, W); labels int64 (N,).

    Returns:
        the mixture, and facts about the fit.

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
    used = order[:_MAX_IMAGES]

    def posterior_samples(indices: Tensor, _: Tensor | None) -> Tensor:
        x = to_float(images[indices], device=model.device)
        layers = model.infer(x, 1, labels[indices].to(model.device))
        return torch.cat([latent.z[0] for latent in layers], dim=-1)  # (B, D)

    latents = in_batches(posterior_samples, used, size=_BATCH_SIZE)
    fit = GaussianMixture(components, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is in the facts
        fit.fit(latents.double().cpu().numpy())
    weights, means, covariances = (
        torch.as_tensor(part) for part in (fit.weights_, fit.means_, fit.covariances_)
    )
    scale_tril = torch.linalg.cholesky(covariances).to(latents)
    mixture = normal_mixture(weights.to(latents), means.to(latents), scale_tril, temperature)
    return mixture, {
        "components": components,
        "images": len(used),
        "of": len(images),
        "split": "train",
        "converged": bool(fit.converged_),
    }
