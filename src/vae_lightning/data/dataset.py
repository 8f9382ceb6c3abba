"""The images of one split: what the data protocol does with them, wherever they are kept."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from vae_lightning.data import binarization
from vae_lightning.data.batches import Batches, ResidentBatches


class ImageDataset(ABC):
    """Images as bytes with their labels, in memory or in files.

    Attributes:
        labels: int64 (N,).
        indices: of each image in the split of the source that it comes from, int64 (N,).
    """

    labels: Tensor
    indices: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def select(self, chosen: Tensor) -> "ImageDataset":
        """A subset of the images, in the order of `chosen`.

        Shape:
            chosen: indices, int64 (M,), or a mask, bool (N,).
        """

    @abstractmethod
    def binarized(self, how: Literal["threshold", "fixed"], seed: int) -> "ImageDataset":
        """The images in black and white, by `binarization.threshold` or `binarization.fixed`."""

    @abstractmethod
    def loaded(self, device: torch.device) -> "ImageDataset":
        """The images ready to be served from `device`; files that cannot be read are left out.

        Raises:
            DataError: a file cannot be read, and such files are not to be left out.
        """

    @abstractmethod
    def in_memory(self, count: int | None = None) -> "InMemoryDataset":
        """The first `count` images, or all of them, as a tensor on the device of the labels."""

    @abstractmethod
    def sum(self) -> Tensor:
        """The sum of all images, int64 (C, H, W)."""

    @abstractmethod
    def constant(self) -> int | None:
        """The value of all pixels of all images, once they are loaded; None if they differ."""

    @abstractmethod
    def batches(self, batch_size: int, **options: Any) -> Batches:
        """Batches of the images; `options` are those of `Batches`."""


@dataclass(frozen=True)
class InMemoryDataset(ImageDataset):
    """Images in a tensor.

    Attributes:
        images: uint8 (N, C, H, W).
        labels: int64 (N,), on the same device.
        indices: int64 (N,), on the CPU.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor

    def select(self, chosen: Tensor) -> "InMemoryDataset":
        return InMemoryDataset(self.images[chosen], self.labels[chosen], self.indices[chosen])

    def binarized(self, how: Literal["threshold", "fixed"], seed: int) -> "InMemoryDataset":
        if how == "threshold":
            images = binarization.threshold(self.images)
        else:
            images = binarization.fixed(self.images, seed)
        return InMemoryDataset(images, self.labels, self.indices)

    def loaded(self, device: torch.device) -> "InMemoryDataset":
        return InMemoryDataset(self.images.to(device), self.labels.to(device), self.indices)

    def in_memory(self, count: int | None = None) -> "InMemoryDataset":
        return InMemoryDataset(self.images[:count], self.labels[:count], self.indices[:count])

    def sum(self) -> Tensor:
        return self.images.sum(0, dtype=torch.int64)

    def constant(self) -> int | None:
        # One image tells nearly always.
        for images in (self.images[:1], self.images):
            if images.numel() == 0 or images.min() != images.max():
                return None
        return int(self.images[0].min())

    def batches(self, batch_size: int, **options: Any) -> ResidentBatches:
        return ResidentBatches(self.images, self.labels, batch_size, **options)
