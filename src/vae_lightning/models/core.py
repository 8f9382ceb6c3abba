"""What every model defines: inference and decoding, without checks of values."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.distributions.spaces import Space
from vae_lightning.models.checks import check_image_batch
from vae_lightning.models.chunked import ChunkedLikelihood
from vae_lightning.models.conditioning import label_embedding, with_label_channel
from vae_lightning.models.label_checks import check_label_batch
from vae_lightning.models.part_checks import check_sizes
from vae_lightning.models.trace import Latent, Trace
from vae_lightning.utils.blocks import in_blocks


class ModelCore(nn.Module, ABC):
    """What a model defines, and what training and evaluation call in every step.

    Shapes, types and devices are checked. Values are not, because looking at them waits for the
    device: `Model` adds the methods that do.

    Args:
        image_shape: (C, H, W).
        num_classes: how many classes the model is conditional on; None without labels.

    Attributes:
        encoder: the network from images to features.
        decoder: the network from latents to features.
        likelihood: the head from these features to p(x|z).
        latent_space: the space of the latents.
        label_picture: a learned image for each class; None without classes.

    Raises:
        ValueError: an image shape that is not three sizes of at least 1, or no classes.
    """

    encoder: nn.Module
    decoder: nn.Module
    likelihood: Likelihood
    latent_space: Space

    def __init__(self, image_shape: Sequence[int], num_classes: int | None) -> None:
        super().__init__()
        check_sizes(image_shape, num_classes)
        self.image_shape = tuple(image_shape)
        self.num_classes = num_classes
        self.label_picture = label_embedding(image_shape, num_classes)

    @abstractmethod
    def forward(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Trace:
        """Encode images, draw `num_samples` reparameterised latents (K) of each, and decode them.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,), required by a model with classes.
        """

    @abstractmethod
    def infer(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Sequence[Latent]:
        """Encode images and draw latents, as `forward` does, without decoding them.

        Shape:
            as for `forward`; returns the layers, the one nearest to the image first.
        """

    @abstractmethod
    def predict(self, latents: Sequence[Tensor], labels: Tensor | None = None) -> Distribution:
        """Decode samples of all stochastic layers, as in `Latent.z`: p(x|z) of each.

        Shape:
            latents (K, B, *event) of each layer; labels int64 (B,); returns batch shape (K, B).
        """

    @property
    @abstractmethod
    def latent_size(self) -> int:
        """D, the number of values in `latent_means` for one image."""

    @abstractmethod
    def infer_posterior(self, x: Tensor, labels: Tensor | None = None) -> Distribution:
        """The posterior of `Model.encode`, without a check of the values of x.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,); returns batch shape (B,).
        """

    @abstractmethod
    def infer_means(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The means of `Model.latent_means`, without a check of the values of x.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,); returns (B, D).
        """

    @abstractmethod
    def draw_latents(self, num_images: int, temperature: float) -> Tensor:
        """The latents of `Model.sample_latents`, without a check of their number.

        Shape:
            returns (num_images, D).
        """

    @abstractmethod
    def decode_means(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """The images of `Model.mean_images`, without a check of the values of the labels.

        Shape:
            latents (N, D); labels int64 (N,), or weights of all classes, (N, num_classes);
            returns (N, C, H, W).
        """

    def auxiliary(self, latents: Sequence[Latent]) -> dict[str, Tensor]:
        """Auxiliary losses of the model, by name, each (B,); none unless a model defines them."""
        return {}

    def encoded(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The encoder's features; without gradients, of one block of images after the other.

        Shape:
            x (B, C, H, W); labels int64 (B,); returns (B, F).
        """
        check_image_batch(x, self.image_shape, self._weight)
        if self.num_classes is not None:
            check_label_batch(labels, x.shape[0], self.num_classes, x.device)
        return in_blocks(self._encoded, x, labels, owner=self)

    def _encoded(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return self.encoder(with_label_channel(x, labels, self.label_picture))

    @torch.no_grad()
    def chunked_trace(
        self, x: Tensor, num_samples: int, labels: Tensor | None = None, *, most: int | None = None
    ) -> Trace:
        """The trace of `forward` in evaluation mode, which decodes in chunks when it is scored.

        The noise is that of `forward`. Memory is bounded in bytes, whatever the number of images,
        their size and the number of samples.

        Args:
            x: images.
            num_samples: K.
            labels: their classes, for a conditional model.
            most: images decoded at once; None for as many as fit.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,).
        """
        latents = self.infer(x, num_samples, labels)
        samples = [latent.z for latent in latents]
        likelihood = ChunkedLikelihood(self.predict, self, samples, labels, self.image_shape, most)
        return Trace(x, latents, likelihood, self.auxiliary(latents))

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self._weight.device

    @property
    def _weight(self) -> Tensor:
        """Any of the weights: all have one type and one device."""
        return next(self.parameters())

    def each_class_in_turn(self, count: int, device: torch.device) -> Tensor | None:
        """Default labels, 0, 1, ... and again from 0: int64 (count,); None without classes."""
        if self.num_classes is None:
            return None
        return torch.arange(count, device=device) % self.num_classes
