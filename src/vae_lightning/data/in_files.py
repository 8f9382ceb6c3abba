"""Images that stay in their files until they are needed."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor

from vae_lightning.data.images import Images, InMemory
from vae_lightning.data.reader import Reader
from vae_lightning.data.streamed import StreamedBatches
from vae_lightning.errors import DataError
from vae_lightning.utils.progress import progress

OnError = Literal["skip", "raise"]

# Files asked of the pool of threads at once: few enough that memory does not grow with the folder.
_ASKED = 1024


@dataclass(frozen=True)
class InFiles(Images):
    """Images in files.

    Attributes:
        paths: of the files.
        labels: int64 (N,).
        places: of each image in its split, int64 (N,).
        reader: reads one.
        streamed: whether the images are to stay in their files when they are served.
        on_error: what to do about a file that cannot be read: leave it out, or stop.
        num_workers: processes that read files for batches.
        unreadable: collects, in their order, the paths of files that could not be read.
        device: that batches are served on.
    """

    paths: Sequence[str]
    labels: Tensor
    places: Tensor
    reader: Reader
    streamed: bool
    on_error: OnError
    num_workers: int
    unreadable: dict[str, None]
    device: torch.device

    def select(self, chosen: Tensor) -> "InFiles":
        indices = chosen.nonzero().flatten() if chosen.dtype == torch.bool else chosen
        return replace(
            self,
            paths=[self.paths[index] for index in indices.tolist()],
            labels=self.labels[indices],
            places=self.places[indices],
        )

    def binarized(self, how: Literal["threshold", "fixed"], seed: int) -> "InFiles":
        reader = replace(self.reader, binarize=how, seed=seed)
        return replace(self, reader=reader, places=torch.arange(len(self)))

    def placed(self, device: torch.device) -> Images:
        good = torch.ones(len(self), dtype=torch.bool)
        kept = torch.empty(
            (0 if self.streamed else len(self), *self.reader.image_shape), dtype=torch.uint8
        )
        count = 0
        for place, pixels in enumerate(self._each()):
            if pixels is None:
                good[place] = False
                self.unreadable[self.paths[place]] = None
                continue
            if not self.streamed:
                kept[count] = pixels
            count += 1
        if self.streamed:
            return replace(self.select(good), device=device)
        return InMemory(kept[:count].to(device), self.labels[good].to(device))

    def tensors(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        images = self.select(torch.arange(len(self))[:count]).in_memory()
        return images.pixels.to(self.device), images.labels.to(self.device)

    def in_memory(self) -> InMemory:
        """All images that can be read, in a tensor."""
        placed = replace(self, streamed=False).placed(torch.device("cpu"))
        assert isinstance(placed, InMemory)
        return placed

    def sum(self) -> Tensor:
        total = torch.zeros(self.reader.image_shape, dtype=torch.int64)
        for pixels in self._each():
            if pixels is not None:
                total += pixels
        return total.to(self.device)

    def batches(self, batch_size: int, **options: Any) -> StreamedBatches:
        return StreamedBatches(
            self.labels.to(self.device),
            batch_size,
            paths=self.paths,
            places=self.places,
            reader=self.reader,
            num_workers=self.num_workers,
            **options,
        )

    def _each(self) -> Iterator[Tensor | None]:
        """Read each file in its turn, by a pool of threads; None for one that cannot be read."""

        def read(path: str, place: int) -> Tensor | DataError:
            try:
                return self.reader(path, place)
            except DataError as error:
                return error

        asked = zip(self.paths, self.places.tolist(), strict=True)
        threads = min(32, os.cpu_count() or 1)
        with (
            ThreadPoolExecutor(threads) as pool,
            progress("reading images", len(self)) as advance,
        ):
            while some := list(islice(asked, _ASKED)):
                for found in pool.map(read, *zip(*some, strict=True)):
                    if isinstance(found, DataError):
                        if self.on_error == "raise":
                            raise DataError(f"{found}; data.on_error=skip leaves such files out")
                        yield None
                    else:
                        yield found
                advance(len(some))
