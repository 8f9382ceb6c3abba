"""Images that stay in their files until they are needed."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor

from vae_lightning.data.dataset import ImageDataset, InMemoryDataset
from vae_lightning.data.image_reader import ImageReader
from vae_lightning.data.streamed_batches import StreamedBatches
from vae_lightning.errors import DataError
from vae_lightning.utils.blocks import images_at_once
from vae_lightning.utils.progress import progress

OnError = Literal["skip", "raise"]

# Files submitted to the thread pool at once, so that memory does not grow with the folder.
_MAX_FILES = 1024


@dataclass(frozen=True)
class FileDataset(ImageDataset):
    """Images in files.

    Attributes:
        paths: of the files.
        labels: int64 (N,).
        indices: int64 (N,).
        noise_indices: int64 (N,); each image's own noise is drawn from its number.
        reader: reads one file.
        streamed: whether the images stay in their files when they are served.
        on_error: leave out a file that cannot be read (`skip`), or stop (`raise`).
        num_workers: processes that read files for batches.
        unreadable: collects the paths of files that could not be read, with the reasons, in order.
        device: that batches are served on.
        way_out: what to do about a file that cannot be read, in the message of `raise`.
        level: the value of all pixels of all images, once they are loaded; None if they differ.
    """

    paths: Sequence[str]
    labels: Tensor
    indices: Tensor
    noise_indices: Tensor
    reader: ImageReader
    streamed: bool
    on_error: OnError
    num_workers: int
    unreadable: dict[str, str]
    device: torch.device
    way_out: str = "data.on_error=skip leaves such files out"
    level: int | None = None

    def select(self, chosen: Tensor) -> "FileDataset":
        kept = chosen.nonzero().flatten() if chosen.dtype == torch.bool else chosen
        return replace(
            self,
            paths=[self.paths[index] for index in kept.tolist()],
            labels=self.labels[kept],
            indices=self.indices[kept],
            noise_indices=self.noise_indices[kept],
        )

    def binarized(self, how: Literal["threshold", "fixed"], seed: int) -> "FileDataset":
        reader = replace(self.reader, binarize=how, seed=seed)
        return replace(self, reader=reader, noise_indices=torch.arange(len(self)))

    def loaded(self, device: torch.device) -> ImageDataset:
        if not self.streamed:
            return replace(self, device=device).in_memory()
        readable, low, high = [], 255, 0
        for pixels in self._each():
            readable.append(pixels is not None)
            if pixels is not None and low >= high:  # until two values are found
                low, high = min(low, int(pixels.min())), max(high, int(pixels.max()))
        chosen = self.select(torch.tensor(readable, dtype=torch.bool))
        return replace(chosen, device=device, level=low if low == high else None)

    def in_memory(self, count: int | None = None) -> InMemoryDataset:
        some = self.select(torch.arange(len(self))[:count])
        images = torch.empty((len(some), *self.reader.image_shape), dtype=torch.uint8)
        readable = torch.ones(len(some), dtype=torch.bool)
        num_read = 0
        for index, pixels in enumerate(some._each()):
            if pixels is None:
                readable[index] = False
            else:
                images[num_read] = pixels
                num_read += 1
        return InMemoryDataset(
            images[:num_read].to(self.device),
            some.labels[readable].to(self.device),
            some.indices[readable],
        )

    def sum(self) -> Tensor:
        total = torch.zeros(self.reader.image_shape, dtype=torch.int64)
        for pixels in self._each():
            if pixels is not None:
                total += pixels
        return total.to(self.device)

    def constant(self) -> int | None:
        return self.level

    def batches(self, batch_size: int, **options: Any) -> StreamedBatches:
        return StreamedBatches(
            self.labels.to(self.device),
            batch_size,
            paths=self.paths,
            noise_indices=self.noise_indices,
            reader=self.reader,
            num_workers=self.num_workers,
            **options,
        )

    def _each(self) -> Iterator[Tensor | None]:
        """Read the files in order, in a thread pool; None for one that cannot be read."""

        def read(path: str, noise_index: int) -> Tensor | DataError:
            try:
                return self.reader(path, noise_index)
            except DataError as error:
                return error

        items = zip(self.paths, self.noise_indices.tolist(), strict=True)
        threads = min(32, os.cpu_count() or 1)
        files_at_once = images_at_once(self.reader.image_shape, _MAX_FILES, bytes_per_value=1)
        with (
            ThreadPoolExecutor(threads) as pool,
            progress("reading images", len(self)) as advance,
        ):
            while block := list(islice(items, files_at_once)):
                for path, found in zip(
                    (path for path, _ in block),
                    pool.map(read, *zip(*block, strict=True)),
                    strict=True,
                ):
                    if isinstance(found, DataError):
                        if self.on_error == "raise":
                            raise DataError(f"{found}; {self.way_out}")
                        self.unreadable[path] = str(found)
                        yield None
                    else:
                        yield found
                advance(len(block))
