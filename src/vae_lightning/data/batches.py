"""Batches in an order that depends on the seed and the epoch only."""

from abc import ABC, abstractmethod
from collections import deque
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
        batch_size: images in a batch of one process; the last batch may have fewer.
        shuffle: use a new order in each epoch.
        seed: of the order and of the binarisation.
        binarize: binarise each batch anew, by `binarization.dynamic`.
        process: the rank of this process and the number of processes. Together they serve each
            image once, in the same number of batches each.
        whole_batches: how the images are divided. False: n processes divide each batch of
            n * batch_size images; in the last one, some have an image more than others. True:
            they take the batches of one process in turn, and at the end some have an empty one.

    Shape:
        yields images float32 (B, C, H, W) in [0, 1] and labels int64 (B,).

    Attributes:
        shares: for the batches that were yielded and not trained on yet, the number of images
            relative to the mean over all processes; empty if there is one process.
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
        whole_batches: bool = False,
    ) -> None:
        self.labels = labels
        self.batch_size = batch_size
        self.binarize = binarize
        self.rank, self.world_size = process
        self.whole_batches = whole_batches
        self.shares: deque[float] = deque()
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
        # Images that cannot be divided evenly belong to the last batch.
        images = len(self.labels)
        even = images if self.whole_batches else images // self.world_size * self.world_size
        return -(-even // (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[Batch]:
        device = self.labels.device
        parts = self._own_parts()
        generator = self.batch_sampler.generator(device)
        generator.manual_seed(generator.initial_seed() + 7919 * self.rank)
        start, self._start = self._start, 0
        self.shares.clear()  # of batches that were drawn in advance, and not trained on
        if self.binarize:
            for part in parts[:start]:  # advances the generator past the batches already served
                torch.rand((len(part), *self.image_shape), generator=generator, device=device)
        batches = self._batches_of_bytes(parts[start:])
        for number, (part, pixels) in enumerate(zip(parts[start:], batches, strict=True), start):
            images = to_float(pixels)
            if self.binarize:
                images = binarization.dynamic(images, generator)
            self._position = number + 1
            if self.world_size > 1:
                self.shares.append(self._share(number, len(part)))
            # index_select is twice as fast as indexing with brackets on a CPU.
            yield images, self.labels.index_select(0, part)
        for _ in range(len(self) - max(start, len(parts))):
            yield torch.empty((0, *self.image_shape), device=device), self.labels[:0]

    def state_dict(self) -> dict[str, int]:
        """How much of this epoch was served, by this process and by all, to resume within it."""
        done = self._position == len(self)
        images = len(self.labels) if done else self._position * self._batch_of_all()
        return {"position": self._position, "images": images}

    def load_state_dict(self, state: dict[str, int]) -> None:
        position, images = state["position"], state.get("images")  # not in older checkpoints
        if images is not None and images < len(self.labels):
            # Batches of another number of processes have another size. No image is left out.
            position = min(images // self._batch_of_all(), len(self) - 1)
        self._start = 0 if images == len(self.labels) else position % len(self)

    def _own_parts(self) -> Sequence[Tensor]:
        """The indices of the images of each batch of this process, on the device of the labels."""
        order = self.batch_sampler.indices().to(self.labels.device)
        if self.whole_batches:
            return order.split(self.batch_size)[self.rank :: self.world_size]
        own = order[self.rank :: self.world_size]
        if (last := (len(self) - 1) * self.batch_size) <= 0:
            return (own,)
        return (*own[:last].split(self.batch_size), own[last:])

    def _share(self, number: int, images: int) -> float:
        """The images of a batch of this process, relative to the mean over all processes."""
        of_all = self._batch_of_all()
        if number == len(self) - 1:
            of_all = len(self.labels) - number * of_all
        return self.world_size * images / of_all

    def _batch_of_all(self) -> int:
        return self.batch_size * self.world_size


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
