"""A split's images: what the data protocol does with them, wherever they are kept."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from vae_lightning.data import binarisation
from vae_lightning.data.batches import Batches, ResidentBatches


class Images(ABC):
    """Images of bytes with their labels, in memory or in files.

    Attributes:
        labels: int64 (N,).
    """

    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def select(self, chosen: Tensor) -> "Images":
        """Some of the images, in this order.

        Shape:
            chosen: indices, int64 (M,), or which to take, bool (N,).
        """

    @abstractmethod
    def binarized(self, how: Literal["threshold", "fixed"], seed: int) -> "Images":
        """The images in black and white.

        Args:
            how: cut at one half, or drawn once with the grey value as the probability of white.
            seed: of the draw.
        """

    @abstractmethod
    def placed(self, device: torch.device) -> "Images":
        """The images ready to be served: those that can be read, kept where they will stay.

        Raises:
            DataError: one cannot be read, and none is to be left out.
        """

    @abstractmethod
    def tensors(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The first `count` images, or all.

        Shape:
            returns images uint8 (count, C, H, W) and labels int64 (count,).
        """

    @abstractmethod
    def sum(self) -> Tensor:
        """The sum of all images, int64 (C, H, W)."""

    @abstractmethod
    def batches(self, batch_size: int, **options: Any) -> Batches:
        """Batches of the images; `options` are those of `Batches`."""


@dataclass(frozen=True)
class InMemory(Images):
    """Images in a tensor.

    Attributes:
        pixels: uint8 (N, C, H, W).
        labels: int64 (N,), on the same device.
    """

    pixels: Tensor
    labels: Tensor

    def select(self, chosen: Tensor) -> "InMemory":
        return InMemory(self.pixels[chosen], self.labels[chosen])

    def binarized(self, how: Literal["threshold", "fixed"], seed: int) -> "InMemory":
        if how == "threshold":
            return InMemory(binarisation.threshold(self.pixels), self.labels)
        return InMemory(binarisation.fixed(self.pixels, seed), self.labels)

    def placed(self, device: torch.device) -> "InMemory":
        return InMemory(self.pixels.to(device), self.labels.to(device))

    def tensors(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        return self.pixels[:count], self.labels[:count]

    def sum(self) -> Tensor:
        return self.pixels.sum(0, dtype=torch.int64)

    def batches(self, batch_size: int, **options: Any) -> ResidentBatches:
        return ResidentBatches(self.pixels, self.labels, batch_size, **options)
