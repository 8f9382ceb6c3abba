"""What every likelihood does."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from vae_lightning.distributions.heads import pixel_head
from vae_lightning.utils.data_dependent import DataDependent, TrainingImages

# What exp(log p(x|z)) is: a probability of images of zeros and ones, which for grey pixels is none;
# a probability of images of 256 grey values; a density of images in units of [0, 1].
PixelType = Literal["binary", "discrete", "continuous"]


class Likelihood(DataDependent, nn.Module):
    """Owns the last linear layer and makes a distribution of what it gives.

    Args:
        in_features: of the decoder: F, or (F, H, W) where it gives maps.
        image_shape: (C, H, W).
        start_at_mean: begin training with the layer's bias at the mean image of the training data,
            which saves the epochs that finding it takes.
        numbers: n, how many each pixel and channel takes.

    Attributes:
        pixel_type: what its log-probabilities are of.

    Shape:
        features (..., F) or (..., F, H, W); returns a distribution of batch shape (...) and event
        shape (C, H, W).

    References:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016 (the bias).
    """

    pixel_type: ClassVar[PixelType]

    def __init__(
        self,
        in_features: int | Sequence[int],
        image_shape: Sequence[int],
        start_at_mean: bool,
        numbers: int = 1,
    ) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.start_at_mean = start_at_mean
        self.head = pixel_head(in_features, self.image_shape, numbers)

    @torch.no_grad()
    def initialize_from(self, data: TrainingImages) -> None:
        if self.start_at_mean:
            bias = self.bias_of(data.mean_image().flatten())
            self.head.bias.copy_(bias)

    @abstractmethod
    def bias_of(self, mean: Tensor) -> Tensor:
        """The bias with which the distribution has a mean, where all features are 0.

        Shape:
            mean (C*H*W,), in [0, 1]; returns (n*C*H*W,).
        """
