"""Batches in an order that depends on the seed and the epoch only."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vae_lightning.data import binarization
from vae_lightning.utils.pixels import to_float

Batch = tuple[Tensor, Tensor]


class Order:
    """The order of the images in an epoch: a function of the seed and the epoch.

    A resumed run therefore continues with the same images. Lightning calls `set_epoch` on
    `batch_sampler.sampler` of a loader, hence the attribute `sampler`.
    """

    def __init__(self, num_images: int, shuffle: bool, seed: int) -> None:
        self.num_images = num_images
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self.sampler = self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def generator(self, device: torch.device | str) -> torch.Generator:
        """A generator of this epoch's noise on `device`."""
        return torch.Generator(device).manual_seed(self.seed * 1_000_003 + self.epoch)

    def indices(self) -> Tensor:
        """Indices of the images, (N,)."""
        if not self.shuffle:
            return torch.arange(self.num_images)
        return torch.randperm(self.num_images, generator=self.generator("cpu"))


class Batches(ABC):
    """An iterable of `(images, labels)`; subclasses provide the images.

    Args:
        labels: int64 (N,), on the device that batches are served on.
        batch_size: images in a batch of one process; the last batch may be shorter.
        shuffle: use a new order in each epoch.
        seed: of the order and of the binarisation.
        binarize: binarise each batch anew, by `binarization.dynamic`.
        process: the rank of this process and the number of processes, each of which serves its
            part of the images. If images are shuffled, all parts have the same size, and fewer
            images than there are processes are dropped in each epoch; otherwise all are served.

    Shape:
        yields images float32 (B, C, H, W) in [0, 1] and labels int64 (B,).
    """

    def __init__(
        self,
        labels: Tensor,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        binarize: bool = False,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        self.labels = labels
        self.batch_size = batch_size
        self.binarize = binarize
        self.rank, self.world_size = process
        self.batch_sampler = Order(len(labels), shuffle, seed)
        self._start = 0  # the first batch of the next epoch: not 0 if an epoch is resumed
        self._position = 0  # batches served in this epoch

    @property
    @abstractmethod
    def image_shape(self) -> Sequence[int]:
        """(C, H, W)."""

    @abstractmethod
    def _batches_of_bytes(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield the images of each batch, uint8 (B, C, H, W), on the device of the labels.

        Args:
            parts: the indices of the images of each batch, on the device of the labels.
        """

    def __len__(self) -> int:
        return -(-self._num_own() // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        device = self.labels.device
        own = self.batch_sampler.indices()[self.rank :: self.world_size][: self._num_own()]
        parts = own.to(device).split(self.batch_size)
        generator = self.batch_sampler.generator(device)
        generator.manual_seed(generator.initial_seed() + 7919 * self.rank)
        start, self._start = self._start, 0
        if self.binarize:
            for part in parts[:start]:  # advances the generator past the batches already served
                torch.rand((len(part), *self.image_shape), generator=generator, device=device)
        batches = self._batches_of_bytes(parts[start:])
        for number, (part, pixels) in enumerate(zip(parts[start:], batches, strict=True), start):
            images = to_float(pixels)
            if self.binarize:
                images = binarization.dynamic(images, generator)
            self._position = number + 1
            # index_select is twice as fast as indexing with brackets on a CPU.
            yield images, self.labels.index_select(0, part)

    def state_dict(self) -> dict[str, int]:
        """The number of batches served in this epoch, to resume in the middle of it."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._start = state["position"] % len(self)

    def _num_own(self) -> int:
        if self.batch_sampler.shuffle:
            return self.batch_sampler.num_images // self.world_size
        return len(range(self.rank, self.batch_sampler.num_images, self.world_size))


class ResidentBatches(Batches):
    """Batches gathered and converted on the device that holds the images.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,), on the same device.
        batch_size, options: as for `Batches`.

    Shape:
        yields images float32 (B, C, H, W) in [0, 1] and labels int64 (B,).

    Example:
        >>> images = torch.zeros(10, 1, 8, 8, dtype=torch.uint8)
        >>> batches = ResidentBatches(images, torch.arange(10), batch_size=4, shuffle=True)
        >>> [len(labels) for _, labels in batches]
        [4, 4, 2]
    """

    def __init__(self, images: Tensor, labels: Tensor, batch_size: int, **options: Any) -> None:
        super().__init__(labels, batch_size, **options)
        self.images = images

    @property
    def image_shape(self) -> Sequence[int]:
        return self.images.shape[1:]

    def _batches_of_bytes(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        for part in parts:
            # Three times as fast as indexing with brackets on a CPU.
            yield self.images.index_select(0, part)
