"""The methods of all models that users call: they check their input."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lightning.distributions.point_mass import PointMass
from vae_lightning.distributions.spaces import Interpolation, interpolate_latents
from vae_lightning.models.checks import check_count, check_fractions, check_images, check_latents
from vae_lightning.models.chunked import DECODED
from vae_lightning.models.conditioning import between_labels
from vae_lightning.models.core import ModelCore
from vae_lightning.models.label_checks import check_classes, check_labels, check_weights
from vae_lightning.utils.random_state import noise_of

# Samples of all images that `log_likelihood` draws at once, so that memory does not grow with their
# number. The noise that a generator gives depends on it.
_DRAWN = 10_000


class Model(ModelCore):
    """The base class of all models: p(x) of images, or p(x|y) with classes, and an encoder.

    Its methods check their input, values included. What runs in every step of training and
    evaluation calls those of `ModelCore` instead.
    """

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Distribution:
        """Infer q(z|x), or q(z|x, y); of several layers, of the one that is inferred first.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,); returns batch shape (B,).

        Raises:
            ValueError: images or labels that do not fit the model.
        """
        self._check(x, labels)
        return self.infer_posterior(x, labels)

    @torch.no_grad()
    def latent_means(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The means of the posterior: all layers concatenated, maps flattened.

        On a sphere they are mean directions; a layer that depends on others is given their means.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,); returns (B, D).

        Raises:
            ValueError: images or labels that do not fit the model.
        """
        self._check(x, labels)
        return self.infer_means(x, labels)

    @torch.no_grad()
    def sample_latents(self, num_images: int, temperature: float = 1.0) -> Tensor:
        """Draw latents from the prior, (num_images, D), in the form of `latent_means`.

        Args:
            num_images: how many.
            temperature: below 1, from a narrower distribution; see `distributions.temperature`.

        Raises:
            ValueError: no images, or a temperature other than 1 for a prior that has none.
        """
        check_count("num_images", num_images)
        return self.draw_latents(num_images, temperature)

    @torch.no_grad()
    def mean_images(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean of p(x|z), or p(x|z, y).

        Shape:
            latents (N, D), in the form of `latent_means`; labels int64 (N,), or weights of all
            classes, (N, num_classes); returns (N, C, H, W).

        Raises:
            ValueError: latents or labels that do not fit the model.
        """
        check_latents(latents, self.latent_size, self._weight)
        check_weights(labels, len(latents), self.num_classes, latents.device)
        return self.decode_means(latents, labels)

    def check_labels(self, labels: Tensor) -> None:
        """Raise a ValueError unless every label is one of the model's classes."""
        check_classes(labels, self.num_classes)

    @torch.no_grad()
    def sample(
        self,
        num_images: int,
        labels: Tensor | None = None,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw latents from the prior and return the mean images of the likelihood.

        Args:
            num_images: how many.
            labels: the class of each, int64 (num_images,); by default each class in turn.
            temperature: as for `sample_latents`.
            generator: of the noise, on any device; None draws from torch's own.

        Shape:
            returns (num_images, C, H, W).

        Raises:
            ValueError: no images, labels that do not fit, or a temperature that the prior lacks.
        """
        check_count("num_images", num_images)
        with noise_of(generator, self.device):
            latents = self.draw_latents(num_images, temperature)
        if labels is None:
            labels = self.each_class_in_turn(num_images, self.device)
        else:
            check_labels(labels, num_images, self.num_classes, self.device)
        return self.decode_means(latents, labels)

    @torch.no_grad()
    def reconstruct(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Encode images and decode the means of the posterior.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,); returns (B, C, H, W).

        Raises:
            ValueError: images or labels that do not fit the model.
        """
        self._check(x, labels)
        return self.decode_means(self.infer_means(x, labels), labels)

    @torch.no_grad()
    def interpolate(
        self,
        a: Tensor,
        b: Tensor,
        steps: int,
        *,
        path: Interpolation | None = None,
        labels_a: Tensor | None = None,
        labels_b: Tensor | None = None,
    ) -> Tensor:
        """Interpolate between images, in their latents and their labels.

        Args:
            a: images; their reconstructions are the first step.
            b: as many others; the last step.
            steps: how many, both ends included.
            path: `linear` or `spherical`; None takes the one that stays in the latent space.
            labels_a: the classes of `a`, for a conditional model.
            labels_b: those of `b`.

        Shape:
            a, b (B, C, H, W) in [0, 1]; labels int64 (B,); returns (B, steps, C, H, W).

        Raises:
            ValueError: fewer than two steps, a path that leaves the latent space, or images or
                labels that do not fit the model or each other.
        """
        check_count("steps", steps, 2)
        self._check(a, labels_a)
        self._check(b, labels_b)
        if len(a) != len(b):
            raise ValueError(f"{len(a)} images cannot be paired with {len(b)}: give as many")
        return self.images_between(
            self.infer_means(a, labels_a),
            self.infer_means(b, labels_b),
            torch.linspace(0, 1, steps, device=a.device, dtype=a.dtype),
            path=path,
            labels_a=labels_a,
            labels_b=labels_b,
        )

    @torch.no_grad()
    def images_between(
        self,
        a: Tensor,
        b: Tensor,
        t: Tensor,
        *,
        path: Interpolation | None = None,
        labels_a: Tensor | None = None,
        labels_b: Tensor | None = None,
    ) -> Tensor:
        """Interpolate between latents; as `interpolate`, at fractions t of the path.

        Shape:
            a, b (B, D), in the form of `latent_means`; t (T,); labels int64 (B,); returns
            (B, T, C, H, W).

        Raises:
            ValueError: a path that leaves the latent space, or latents, fractions or labels that do
                not fit the model or each other.
        """
        for latents, labels in ((a, labels_a), (b, labels_b)):
            check_latents(latents, self.latent_size, self._weight)
            check_labels(labels, len(latents), self.num_classes, latents.device)
        if len(a) != len(b):
            raise ValueError(f"{len(a)} latents cannot be paired with {len(b)}: give as many")
        check_fractions(t)
        latents = interpolate_latents(a, b, t, self.latent_space, path)  # (B, T, D)
        labels = None
        if self.num_classes is not None and labels_a is not None and labels_b is not None:
            labels = between_labels(labels_a, labels_b, t, self.num_classes).flatten(0, 1)
        return self.decode_means(latents.flatten(0, 1), labels).unflatten(0, (len(a), len(t)))

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        num_samples: int,
        labels: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""The importance-weighted bound on log p(x) of each image, in nats.

        .. math:: \log p(x) \ge \mathbb{E} \Big[ \log \frac{1}{K} \sum_{k=1}^K
                  \frac{p(x, z_k)}{q(z_k|x)} \Big], \quad z_k \sim q(z|x)

        Args:
            x: images.
            num_samples: K; the bound tightens with it.
            labels: their classes, for a conditional model.
            generator: of the noise, on any device; None draws from torch's own.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,); returns float64 (B,).

        Raises:
            ValueError: no samples, images or labels that do not fit, or a deterministic posterior.

        References:
            Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016,
            https://arxiv.org/abs/1509.00519.
        """
        check_count("num_samples", num_samples)
        self._check(x, labels)
        chunk = max(1, _DRAWN // len(x))
        total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
        with noise_of(generator, self.device):
            for start in range(0, num_samples, chunk):
                drawn = min(chunk, num_samples - start)
                trace = self.chunked_trace(x, drawn, labels, most=DECODED)
                if any(isinstance(latent.posterior, PointMass) for latent in trace.latents):
                    raise ValueError("a deterministic posterior gives no bound on log p(x)")
                total = torch.logaddexp(total, trace.log_weight.double().logsumexp(0))  # (B,)
        return total - math.log(num_samples)

    def _check(self, x: Tensor, labels: Tensor | None) -> None:
        check_images(x, self.image_shape, self._weight)
        check_labels(labels, len(x), self.num_classes, x.device)
