"""What every model can do, whatever it is composed of."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae_lightning.checks import all_at_least
from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.models.trace import Latent, Trace


class Model(nn.Module, ABC):
    """A generative model of images, with an encoder.

    Args:
        image_shape: (C, H, W).
        num_classes: how many classes of images it tells apart; None where it needs no labels.

    Attributes:
        likelihood: the head that makes p(x|z).

    Raises:
        ValueError: an image shape that is not three sizes of at least 1, or no classes.
    """

    likelihood: Likelihood

    def __init__(self, image_shape: Sequence[int], num_classes: int | None) -> None:
        super().__init__()
        all_at_least("image_shape", image_shape, 1)
        if len(image_shape) != 3:
            raise ValueError(f"image_shape={list(image_shape)} must be channels, height and width")
        if num_classes == 0:
            raise ValueError("num_classes=0: the data has no labels to condition on; use model=vae")
        self.image_shape = tuple(image_shape)
        self.num_classes = num_classes

    @abstractmethod
    def forward(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Trace:
        """Encode, draw `num_samples` reparameterised samples (K), decode.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,), needed where there are `num_classes`.
        """

    @abstractmethod
    def infer(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Sequence[Latent]:
        """Encode and draw, as `forward` does, without decoding.

        Shape:
            as for `forward`.
        """

    @abstractmethod
    def sample(self, num_images: int, labels: Tensor | None = None) -> Tensor:
        """Draw latents from the prior and return the mean images of the likelihood.

        Shape:
            labels int64 (num_images,), by default each class in turn; returns
            (num_images, C, H, W).
        """

    @abstractmethod
    def reconstruct(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Encode, and decode the centre of the posterior.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,); returns (B, C, H, W).
        """

    def each_class_in_turn(self, count: int, device: torch.device) -> Tensor | None:
        """Labels for images that nobody chose labels for: int64 (count,); None without classes."""
        if self.num_classes is None:
            return None
        return torch.arange(count, device=device) % self.num_classes
