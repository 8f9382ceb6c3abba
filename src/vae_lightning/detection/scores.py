"""Scores of single images: the higher, the more anomalous."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vae_lightning.metrics import ImageBounds
from vae_lightning.metrics.bounds import has_bound
from vae_lightning.metrics.likelihood import BOUNDS
from vae_lightning.models import Model
from vae_lightning.utils.progress import progress

# What each is measured in.
UNITS = {
    "reconstruction_probability": "nats",
    "elbo": "nats",
    "nll": "nats",
    "reconstruction": "squared error",
    "latent": "deviations",
}

# Those that are drawn: the column of `ImageBounds`, and what makes more of it more anomalous.
_SAMPLED = {
    "reconstruction_probability": ("distortion", 1),
    "elbo": ("elbo", -1),
    "nll": ("nll", 1),
}

_BATCH = 500


def check_scores(names: Sequence[str], model: Model) -> None:
    """Refuse scores that a model does not have.

    Raises:
        ValueError: one line that says what would do.
    """
    if model.num_classes is not None:
        raise ValueError(
            "the model is conditional, and the class of an anomaly is not known: "
            "detect with a model without classes (model=vae)"
        )
    for name in names:
        if name in ("elbo", "nll") and not has_bound(model):
            raise ValueError(
                f"{name} needs a posterior with a density, and the codes of this model have no "
                "noise: choose reconstruction_probability, reconstruction or latent"
            )


class Mahalanobis:
    r"""How far a vector is from some others, in their own standard deviations.

    .. math:: d(v) = \sqrt{(v - m)^\top S^{-1} (v - m)}

    with m the mean of the others and S their covariance. Directions in which these do not vary at
    all say nothing and are left out.

    Args:
        vectors: the others.

    Shape:
        vectors (N, D).

    References:
        Mahalanobis, "On the Generalized Distance in Statistics", 1936.
    """

    def __init__(self, vectors: Tensor) -> None:
        # On the CPU because not every device has doubles.
        vectors = vectors.cpu().double()
        self.mean = vectors.mean(0)
        covariance = torch.atleast_2d(torch.cov(vectors.T))
        # float32 resolves seven digits of a value, so fourteen of its variance.
        self.precision = torch.linalg.pinv(covariance, rtol=1e-13, hermitian=True)

    def __call__(self, vectors: Tensor) -> Tensor:
        """The distances.

        Shape:
            vectors (N, D); returns float64 (N,), on the CPU.
        """
        away = vectors.cpu().double() - self.mean
        return ((away @ self.precision) * away).sum(1).clamp_min(0).sqrt()


class Scorer:
    r"""Scores images with a model.

    `reconstruction_probability`, with its sign turned, is what the pixels cost, given latents
    that were drawn for the image; `elbo`, likewise, adds the rate; `nll` is the importance-weighted
    bound. K samples of each image, in nats:

    .. math:: -\mathbb{E}_{q(z|x)} \log p(x|z), \quad
              -\mathbb{E}_{q(z|x)} \log p(x|z) + \mathrm{KL}(q(z|x) \,\|\, p(z)), \quad
              -\log \frac{1}{K} \sum_k \frac{p(x, z_k)}{q(z_k|x)}

    `reconstruction` is the squared error, summed over the pixels, of the picture that the
    posterior's mean gives; `latent` the Mahalanobis distance of that mean to those of the training
    images. These two draw nothing.

    Each image has a stream of noise of its own, from the seed and its place, so that no score
    depends on the images beside it.

    Args:
        model: in evaluation mode.
        names: of the scores.
        num_samples: K.
        seed: of the noise.
        training_images: what `latent` measures from; needed for it alone.

    Shape:
        training_images uint8 (N, C, H, W).

    References:
        An and Cho, "Variational Autoencoder based Anomaly Detection using Reconstruction
        Probability", 2015.
    """

    def __init__(
        self,
        model: Model,
        names: Sequence[str],
        num_samples: int,
        seed: int,
        training_images: Tensor | None = None,
    ) -> None:
        self.model = model
        self.names = tuple(names)
        self.num_samples = num_samples
        self.seed = seed
        self.distance = None
        if "latent" in names:
            if training_images is None:
                raise ValueError("latent needs the training images")
            parts = [model.latent_means(self._shown(part)) for part in training_images.split(1000)]
            self.distance = Mahalanobis(torch.cat(parts))

    @torch.no_grad()
    def __call__(self, images: Tensor, what: str) -> dict[str, Tensor]:
        """Score images.

        Args:
            images: the images.
            what: they are, for the progress bar.

        Shape:
            images uint8 (N, C, H, W); returns float64 (N,), on the CPU, by name.
        """
        metric = ImageBounds(self.num_samples, self.seed)
        sampled = any(name in _SAMPLED for name in self.names)
        errors, distances = [], []
        places = torch.arange(len(images)).split(_BATCH)
        with progress(what, len(images)) as advance:
            for chosen in places:
                x = self._shown(images[chosen])
                if sampled:
                    metric.update(self.model, x, chosen)
                if "reconstruction" in self.names:
                    errors.append((x - self.model.reconstruct(x)).square().double().sum((1, 2, 3)))
                if self.distance is not None:
                    distances.append(self.distance(self.model.latent_means(x)))
                advance(len(chosen))
        scores = {}
        if sampled:
            bounds = metric.compute().cpu()
            for name, (column, sign) in _SAMPLED.items():
                scores[name] = sign * bounds[:, BOUNDS.index(column)]
        if errors:
            scores["reconstruction"] = torch.cat(errors).cpu()
        if distances:
            scores["latent"] = torch.cat(distances)
        return {name: scores[name] for name in self.names}

    def _shown(self, images: Tensor) -> Tensor:
        parameter = next(self.model.parameters())
        return images.to(parameter.device, parameter.dtype).div_(255)
