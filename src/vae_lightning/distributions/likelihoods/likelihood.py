"""The base class of likelihoods."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from vae_lightning.distributions.heads import pixel_head
from vae_lightning.utils.data_dependent import DataDependent, TrainingImages

# What exp(log p(x|z)) is: the probability of a binary image (for grey pixels it is not one); the
# probability of an image with 256 grey values; the density of an image with pixels in [0, 1].
PixelType = Literal["binary", "discrete", "continuous"]


class Likelihood(DataDependent, nn.Module):
    """The last linear layer of the decoder, and the distribution p(x|z) that it parameterises.

    Args:
        in_features: shape of the decoder's output: F, or (F, H, W) for maps.
        image_shape: (C, H, W).
        start_at_mean: initialise the bias so that training starts at the mean training image.
        numbers: n, number of parameters of each pixel and channel.

    Attributes:
        pixel_type: the images that log-probabilities refer to: `binary`, `discrete` (256 grey
            values) or `continuous`.

    Shape:
        features (..., F) or (..., F, H, W); returns a distribution of batch shape (...) and event
        shape (C, H, W).

    References:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016 (the bias).
        https://arxiv.org/abs/1509.00519
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
        """The bias for which the distribution has a given mean when all features are 0.

        Shape:
            mean (C*H*W,), in [0, 1]; returns (n*C*H*W,).
        """
