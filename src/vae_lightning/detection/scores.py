"""Anomaly scores of images: the higher, the more anomalous."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vae_lightning.metrics import ImageBounds
from vae_lightning.metrics.bounds import has_bound
from vae_lightning.metrics.likelihood import BOUNDS
from vae_lightning.models import Model
from vae_lightning.utils.blocks import images_at_once, rows_at_once
from vae_lightning.utils.pixels import to_float
from vae_lightning.utils.progress import progress

# The unit of each score.
UNITS = {
    "reconstruction_probability": "nats",
    "elbo": "nats",
    "nll": "nats",
    "reconstruction": "squared error",
    "latent": "deviations",
}

# Scores from posterior samples: the column of `ImageBounds`, and the sign that makes it a score.
_SAMPLED = {
    "reconstruction_probability": ("distortion", 1),
    "elbo": ("elbo", -1),
    "nll": ("nll", 1),
}

_BATCH_SIZE = 500


def check_scores(names: Sequence[str], model: Model) -> None:
    """Check that a model has these scores.

    Raises:
        ValueError: it does not have one of them.
    """
    if model.num_classes is not None:
        raise ValueError(
            "the model is conditional, and the class of an anomaly is not known: "
            "use a model without classes (model=vae)"
        )
    for name in names:
        if name in ("elbo", "nll") and not has_bound(model):
            raise ValueError(
                f"{name} needs a posterior with a density, and the encoding of this model has no "
                "noise: choose reconstruction_probability, reconstruction or latent"
            )


class Mahalanobis:
    r"""Mahalanobis distance to the mean of reference vectors, in their standard deviations.

    .. math:: d(v) = \sqrt{(v - m)^\top S^{+} (v - m)}

    with m the mean and S the covariance of the reference vectors. The pseudo-inverse leaves out
    directions in which they are constant up to rounding in float32, as the means of collapsed
    latents are. scikit-learn's `EmpiricalCovariance` keeps such directions, and its distances then
    measure rounding errors.

    Args:
        vectors: the reference vectors.

    Shape:
        vectors (N, D).

    Example:
        >>> distance = Mahalanobis(torch.tensor([[-1.0], [0.0], [1.0]]))
        >>> distance(torch.tensor([[2.0]]))
        tensor([2.], dtype=torch.float64)

    References:
        Mahalanobis, "On the Generalized Distance in Statistics", 1936.
    """

    def __init__(self, vectors: Tensor) -> None:
        # On the CPU because some devices lack float64.
        vectors = vectors.cpu().double()
        self.mean = vectors.mean(0)
        covariance = torch.atleast_2d(torch.cov(vectors.T))
        # float32 has 7 digits, so a variance below 1e-13 of the largest one may be rounding alone.
        self.precision = torch.linalg.pinv(covariance, rtol=1e-13, hermitian=True)

    def __call__(self, vectors: Tensor) -> Tensor:
        """The distance of each vector.

        Shape:
            vectors (N, D); returns float64 (N,), on the CPU.
        """
        difference = vectors.cpu().double() - self.mean
        return ((difference @ self.precision) * difference).sum(1).clamp_min(0).sqrt()


class Scorer:
    r"""Scores images with a model.

    With K posterior samples of each image, in nats:

    - `reconstruction_probability`: :math:`-\mathbb{E}_{q(z|x)} \log p(x|z)`, the negative of the
      quantity that An and Cho call by this name;
    - `elbo`: :math:`-\mathbb{E}_{q(z|x)} \log p(x|z) + \mathrm{KL}(q(z|x) \,\|\, p(z))`, the
      negative ELBO;
    - `nll`: :math:`-\log \frac{1}{K} \sum_k p(x, z_k) / q(z_k|x)`, the importance-weighted bound.

    Without noise:

    - `reconstruction`: the squared error of the reconstruction from the posterior's mean, summed
      over pixels;
    - `latent`: the Mahalanobis distance of the posterior's mean to those of the training images.

    The noise of an image depends on the seed and the image's index, so a score does not depend on
    the other images.

    Args:
        model: in evaluation mode.
        names: of the scores.
        num_samples: K.
        seed: of the noise.
        training_images: the reference of `latent`; needed for it only.

    Shape:
        training_images uint8 (N, C, H, W).

    Raises:
        ValueError: `latent` without training images.

    Example:
        Score four images with a model that has not been trained.

        >>> from vae_lightning.config import compose, instantiate, to_container
        >>> config = compose("train", ["data=digits", "model.latent_dim=2"])
        >>> model = instantiate(to_container(config.model), "model").eval()
        >>> images = torch.zeros(4, 1, 28, 28, dtype=torch.uint8)
        >>> scorer = Scorer(model, ["elbo", "reconstruction"], num_samples=5, seed=0)
        >>> scores = scorer(images, "images")
        >>> {name: values.shape for name, values in scores.items()}
        {'elbo': torch.Size([4]), 'reconstruction': torch.Size([4])}

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
            block = images_at_once(training_images.shape[1:], most=1000)
            parts = [
                model.infer_means(self._to_model(part)) for part in training_images.split(block)
            ]
            self.distance = Mahalanobis(torch.cat(parts))

    @torch.no_grad()
    def __call__(self, images: Tensor, label: str) -> dict[str, Tensor]:
        """Score images.

        Args:
            images: the images.
            label: of the progress bar.

        Shape:
            images uint8 (N, C, H, W); returns float64 (N,), on the CPU, by name.
        """
        metric = ImageBounds(self.num_samples, self.seed)
        sampled = any(name in _SAMPLED for name in self.names)
        errors, distances = [], []
        with progress(label, len(images)) as advance:
            # Squared errors take six times the memory of the images.
            size = rows_at_once(6 * 4 * images[:1].numel(), _BATCH_SIZE)
            for indices in torch.arange(len(images)).split(size):
                x = self._to_model(images[indices])
                if sampled:
                    metric.update(self.model, x, indices)
                if "reconstruction" in self.names:
                    errors.append(
                        (x - self.model.decode_means(self.model.infer_means(x)))
                        .square()
                        .double()
                        .sum((1, 2, 3))
                    )
                if self.distance is not None:
                    distances.append(self.distance(self.model.infer_means(x)))
                advance(len(indices))
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

    def _to_model(self, images: Tensor) -> Tensor:
        parameter = next(self.model.parameters())
        return to_float(images, parameter.dtype, parameter.device)
