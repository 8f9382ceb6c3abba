"""Parts of a model or an objective that are initialised from the training images."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

from torch import Tensor


class TrainingImages(Protocol):
    """The data that these parts are initialised from."""

    @property
    def num_images(self) -> Mapping[str, int]:
        """Number of images in each split: `train`, `val`, `test`."""

    def mean_image(self) -> Tensor:
        """The mean of the training images, (C, H, W), in [0, 1]."""

    def images(self, split: str, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` images of a split, (count, C, H, W), in [0, 1], and their labels."""


class DataDependent(ABC):
    """A part of a model or an objective that is initialised from the training images."""

    @abstractmethod
    def initialize_from(self, data: TrainingImages) -> None:
        """Initialise from the training images, once, before the first step.

        Store results in parameters or buffers: a resumed run is not initialised again.
        """
