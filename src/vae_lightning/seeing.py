"""What parts of a run may learn of the training images before training starts."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

from torch import Tensor


class TrainingImages(Protocol):
    """The data as such parts see it."""

    @property
    def num_images(self) -> Mapping[str, int]:
        """Images in each split: `train`, `val`, `test`."""

    def mean_image(self) -> Tensor:
        """The mean of the training images, (C, H, W), in [0, 1]."""

    def images(self, split: str, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` images of a split, (count, C, H, W), in [0, 1], and their labels."""


class SeesData(ABC):
    """A part of a model or an objective that starts from the training images."""

    @abstractmethod
    def see(self, data: TrainingImages) -> None:
        """Take in what is needed, once, before the first step.

        What is kept belongs into parameters or buffers, as a resumed run does not see again.
        """
