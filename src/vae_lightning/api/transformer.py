"""A VAE as a scikit-learn transformer of images that are rows of a table."""

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor
from torch.distributions import Independent, Normal

from vae_lightning.api.fitting import fit
from vae_lightning.models import VAE, Model

# One standard deviation for all pixels, found in training: rows are of any unit.
_LIKELIHOOD = (
    "model/likelihood=normal_learned",
    "model.likelihood.scale=optimal",
    "model.likelihood.start_at_mean=true",
)
# Rows times samples that are decoded at once.
_DECODED = 10_000
# Two rows to train on, one for validation and one that a run wants for its test.
_MIN_ROWS = 4


class VAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Encodes images, given as rows of features, as the means of their latents.

    It trains the default model with normal pixels of one learned scale. Features may have any
    range: all are scaled by the same two numbers, so that those of `fit` lie between 0 and 1. For
    training they are rounded to 256 levels. A row is an image of one channel, filled up with zeros
    if its features make no square.

    Args:
        latent_dim: D, number of latent dimensions, which are the columns of `transform`.
        epochs: passes over the rows. A tenth of the rows chooses the best one.
        image_shape: (H, W) or (C, H, W), of a row; by default the smallest square that holds it.
        num_samples: K, posterior samples for each row of `score_samples`.
        overrides: further settings, as on the command line, such as
            `["model/encoder=conv", "model/decoder=conv"]` or `["data.batch_size=32"]`.
        random_state: of weights, batches and noise: a seed, a `RandomState`, or None for that of
            NumPy.
        verbose: print what the command prints.

    Attributes:
        model_: the model, in float64 on the CPU.
        image_shape_: (C, H, W), of a row.
        data_min_, data_range_: what is subtracted from all features, and what they are divided by.
        n_features_in_: F, features of a row.

    Raises:
        ValueError: rows that are not numbers, or do not fit `image_shape`.
        UserError: a setting that does not fit.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> rows, labels = load_digits(return_X_y=True)
        >>> encoder = VAETransformer(latent_dim=8, epochs=5, random_state=0)
        >>> encoder.fit_transform(rows).shape
        (1797, 8)
        >>> encoder.inverse_transform(encoder.transform(rows[:3])).shape
        (3, 64)
        >>> encoder.score_samples(rows[:3]).shape
        (3,)
        >>> pipeline = make_pipeline(encoder, LogisticRegression()).fit(rows, labels)
    """

    def __init__(
        self,
        latent_dim: int = 8,
        *,
        epochs: int = 20,
        image_shape: Sequence[int] | None = None,
        num_samples: int = 50,
        overrides: Sequence[str] = (),
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.latent_dim = latent_dim
        self.epochs = epochs
        self.image_shape = image_shape
        self.num_samples = num_samples
        self.overrides = overrides
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: N803
        """Train the model on rows.

        Shape:
            X (N, F); y is ignored.
        """
        rows = validate_data(self, X, dtype=np.float64, ensure_min_samples=_MIN_ROWS)
        self.image_shape_ = _image_shape(self.image_shape, rows.shape[1])
        self.data_min_ = float(rows.min())
        self.data_range_ = float(rows.max()) - self.data_min_ or 1.0
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        images = self._images(rows).numpy()
        self.model_: Model = fit(
            images[:, 0] if len(images[0]) == 1 else images,
            latent_dim=self.latent_dim,
            epochs=self.epochs,
            overrides=[
                *_LIKELIHOOD,
                "data.test_size=1",  # nothing is tested here
                f"seed={seed}",
                *self.overrides,
            ],
            verbose=self.verbose,
        ).double()
        self._n_features_out = self.model_.latent_size
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The means of the posterior of each row.

        Shape:
            X (N, F); returns (N, D), of the type of X.
        """
        rows, dtype = self._rows(X)
        return self.model_.infer_means(self._images(rows)).numpy().astype(dtype)

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The mean row of p(x|z) for each row of latents.

        Shape:
            X (N, D), as from `transform`; returns (N, F), in the units of `fit`.
        """
        check_is_fitted(self)
        latents = torch.from_numpy(np.asarray(X, np.float64))
        rows = self.model_.mean_images(latents).flatten(1)[:, : self.n_features_in_]
        return (rows * self.data_range_ + self.data_min_).numpy()

    def score_samples(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        r"""The importance-weighted lower bound on log p(x) of each row, in nats.

        .. math:: \log p(x) \ge \mathbb{E} \Big[ \log \frac{1}{K} \sum_{k=1}^K
                  \frac{p(x, z_k)}{q(z_k|x)} \Big], \quad z_k \sim q(z|x)

        It is a log-density in the units of `fit`, as that of `PCA` and `GaussianMixture`. Each row
        has the same noise, which depends on `num_samples` only, so that the bound of a row does not
        depend on the others.

        Shape:
            X (N, F); returns (N,).

        Raises:
            ValueError: the overrides have chosen a posterior other than a normal one with
                independent dimensions, or a likelihood with pixels that depend on each other.
        """
        rows, dtype = self._rows(X)
        images = self._images(rows)
        block = max(1, _DECODED // self.num_samples)
        bounds = torch.cat([self._bound(part) for part in images.split(block)])
        return bounds.numpy().astype(dtype)

    def score(self, X: ArrayLike, y: object = None) -> float:  # noqa: N803
        """The mean of `score_samples`, in nats; y is ignored."""
        return float(self.score_samples(X).mean())

    @torch.no_grad()
    def _bound(self, images: Tensor) -> Tensor:
        model, count = self.model_, self.num_samples
        posterior = model.infer_posterior(images)  # batch shape (B,)
        normal = isinstance(posterior, Independent) and isinstance(posterior.base_dist, Normal)
        if not (isinstance(model, VAE) and normal):
            raise ValueError("score_samples needs model=vae and model/posterior=diagonal_normal")
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(count, 1, model.latent_dim, generator=generator, dtype=images.dtype)
        latents = posterior.mean + posterior.stddev * noise  # (K, B, D)
        pixels = model.predict([latents])
        if not isinstance(pixels, Independent):
            raise ValueError("score_samples needs a likelihood with independent pixels")
        each = pixels.base_dist.log_prob(images).flatten(2)  # (K, B, C*H*W)
        # The pixels that fill up the square are no features.
        log_likelihood = each[..., : self.n_features_in_].sum(-1)
        if model.likelihood.pixel_type == "continuous":
            log_likelihood = log_likelihood - self.n_features_in_ * math.log(self.data_range_)
        log_prior = model.prior_distribution().log_prob(latents)
        log_weight = log_likelihood + log_prior - posterior.log_prob(latents)
        return log_weight.logsumexp(0) - math.log(count)

    def _rows(self, X: ArrayLike) -> tuple[NDArray[Any], np.dtype[Any]]:  # noqa: N803
        """The rows in float64, and the type that results have."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return rows.astype(np.float64), rows.dtype

    def _images(self, rows: NDArray[Any]) -> Tensor:
        """Rows (N, F) as images (N, C, H, W)."""
        pixels = (rows - self.data_min_) / self.data_range_
        missing = math.prod(self.image_shape_) - rows.shape[1]
        filled = np.pad(pixels, ((0, 0), (0, missing)))
        return torch.from_numpy(filled.reshape(-1, *self.image_shape_))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _image_shape(given: Sequence[int] | None, num_features: int) -> tuple[int, int, int]:
    """(C, H, W) of the image of a row.

    Raises:
        ValueError: it is no shape of an image, or the row does not have so many features.
    """
    if given is None:
        side = math.isqrt(num_features - 1) + 1
        return (1, side, side)
    shape = (1, *given) if len(given) == 2 else tuple(given)
    if len(shape) != 3:
        raise ValueError(f"image_shape={given} should be (H, W) or (C, H, W)")
    if math.prod(shape) != num_features:
        raise ValueError(f"image_shape={given} has {math.prod(shape)} pixels, and X {num_features}")
    return (shape[0], shape[1], shape[2])
