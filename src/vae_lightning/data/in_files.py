"""Images that stay in their files until they are needed."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from vae_lightning.data import binarisation
from vae_lightning.data.files import fitted, read_image
from vae_lightning.data.images import Images, InMemory
from vae_lightning.data.streamed import StreamedBatches
from vae_lightning.errors import DataError

OnError = Literal["skip", "raise"]

# Files asked of the pool of threads at once: few enough that memory does not grow with the folder.
_ASKED = 1024
# So long a silence while files are read is broken by a line.
_SILENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Reader:
    """Reads a file as data is served: cut to a square, scaled, and binarised.

    Attributes:
        channels: 1 for grey, 3 for colour.
        size: height and width, in pixels.
        binarize: None keeps the grey values.
        seed: of the draw of `fixed`, which also depends on the image's place and nothing else.
    """

    channels: int
    size: int
    binarize: Literal["threshold", "fixed"] | None = None
    seed: int = 0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.size, self.size

    def __call__(self, path: str, place: int) -> Tensor:
        """Read one image, uint8 (C, H, W).

        Raises:
            DataError: it cannot be read.
        """
        pixels = fitted(read_image(Path(path), self.channels), self.size)
        if self.binarize == "threshold":
            return binarisation.threshold(pixels)
        if self.binarize == "fixed":
            return binarisation.fixed(pixels[None], self.seed * 1_000_000_007 + place)[0]
        return pixels


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

    def batches(self, batch_size: int, **options: Any) -> "StreamedBatches":
        return StreamedBatches(self, batch_size, **options)

    def _each(self) -> Iterator[Tensor | None]:
        """Read each file in its turn, by a pool of threads; None for one that cannot be read."""

        def read(path: str, place: int) -> Tensor | DataError:
            try:
                return self.reader(path, place)
            except DataError as error:
                return error

        asked = zip(self.paths, self.places.tolist(), strict=True)
        with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool, _Progress(len(self)) as bar:
            while some := list(islice(asked, _ASKED)):
                for found in pool.map(read, *zip(*some, strict=True)):
                    if isinstance(found, DataError):
                        if self.on_error == "raise":
                            raise DataError(f"{found}; data.on_error=skip leaves such files out")
                        yield None
                    else:
                        yield found
                bar.advance(len(some))


class _Progress:
    """A bar on a terminal, and elsewhere a line now and then, for what takes long."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.told = time.perf_counter()
        self.bar: Any = None

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *error: Any) -> None:
        if self.bar is not None:
            self.bar.stop()

    def advance(self, count: int) -> None:
        self.done += count
        if self.bar is not None:
            self.bar.update(0, completed=self.done)
        elif self.done < self.total and int(os.environ.get("LOCAL_RANK", 0)) == 0:
            if sys.stderr.isatty():
                self._start()
            elif time.perf_counter() - self.told > _SILENCE_SECONDS:
                self.told = time.perf_counter()
                print(f"read {self.done:,} of {self.total:,} images", file=sys.stderr, flush=True)

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = (TextColumn("reading images"), BarColumn(24), MofNCompleteColumn(), Remaining())
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.bar.add_task("", total=self.total, completed=self.done)
        self.bar.start()
