"""What every model can do, whatever it is composed of."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae_lightning.checks import all_at_least
from vae_lightning.distributions.likelihoods.likelihood import Likelihood
from vae_lightning.models.trace import Latent, Trace

Initialization = Literal["torch", "glorot_uniform"]

_LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class Model(nn.Module, ABC):
    """A generative model of images, with an encoder.

    With classes it models p(x|y): the encoder sees a learned picture of the label beside the
    image, and the decoder the label beside the latents.

    Args:
        image_shape: (C, H, W).
        num_classes: how many classes of images it tells apart; None where it needs no labels.

    Attributes:
        likelihood: the head that makes p(x|z).
        seen_shape: of what the encoder sees, (C, H, W), or (C + 1, H, W) with the label's picture.

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
        self.seen_shape = self.image_shape
        self.label_picture = None
        if num_classes is not None:
            channels, *size = self.image_shape
            self.seen_shape = (channels + 1, *size)
            self.label_picture = nn.Embedding(num_classes, math.prod(size))

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

    def initialize(self, initialization: Initialization) -> None:
        """Draw the weights of linear layers and convolutions anew.

        Args:
            initialization: `torch` keeps what torch does; `glorot_uniform` draws weights after
                Glorot and Bengio (2010) and sets biases to zero.
        """
        if initialization == "glorot_uniform":
            for part in self.modules():
                # Not of derived classes: the steps of a flow begin near the identity.
                if isinstance(part, _LAYERS) and type(part) in _LAYERS:
                    nn.init.xavier_uniform_(part.weight)
                    if part.bias is not None:
                        nn.init.zeros_(part.bias)

    def beside_image(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """What the encoder sees: the image, and the picture of its label where there are classes.

        Shape:
            x (B, C, H, W); labels int64 (B,); returns (B, *seen_shape).
        """
        if self.label_picture is None:
            return x
        picture = self.label_picture(labels).unflatten(1, (1, *self.image_shape[1:]))
        return torch.cat([x, picture], dim=1)

    def beside_latents(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """What the decoder sees: the latents, and the label where there are classes.

        Shape:
            z (..., B, D); labels int64 (B,); returns (..., B, D), or (..., B, D + num_classes).
        """
        if self.num_classes is None or labels is None:
            return z
        label = F.one_hot(labels, self.num_classes).to(z.dtype)
        return torch.cat([z, label.expand(*z.shape[:-1], -1)], dim=-1)
