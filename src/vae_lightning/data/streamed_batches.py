"""Batches read from files while a model trains."""

import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vae_lightning.data.batches import Batches
from vae_lightning.data.image_reader import ImageReader
from vae_lightning.errors import DataError
from vae_lightning.utils.blocks import images_at_once

# Blocks of memory that hold batches read in advance: 1 GB of bytes.
_BLOCKS_READY = 4


class StreamedBatches(Batches):
    """Batches read from files by worker processes, in the order of `ResidentBatches`.

    Args:
        labels: int64 (N,), on the device that batches are served on.
        batch_size, options: as for `Batches`.
        paths: of the files, all of them readable.
        noise_indices: as for `FileDataset`.
        reader: reads one file.
        num_workers: the maximum number of processes that read files.

    Shape:
        yields images float32 (B, C, H, W) in [0, 1] and labels int64 (B,).

    Raises:
        DataError: while batches are drawn: a file can no longer be read.
    """

    def __init__(
        self,
        labels: Tensor,
        batch_size: int,
        *,
        paths: Sequence[str],
        noise_indices: Tensor,
        reader: ImageReader,
        num_workers: int,
        **options: Any,
    ) -> None:
        super().__init__(labels, batch_size, **options)
        self.paths = paths
        self.noise_indices = noise_indices
        self.reader = reader
        self.num_workers = num_workers

    @property
    def image_shape(self) -> Sequence[int]:
        return self.reader.image_shape

    def _batches_of_bytes(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        from torch.utils.data import DataLoader

        device = self.labels.device
        loader: Any = DataLoader(
            _BatchReader(self.paths, self.noise_indices, self.reader),  # type: ignore[arg-type]
            sampler=[part.tolist() for part in parts],
            batch_size=None,
            num_workers=min(self.num_workers, os.cpu_count() or 1, len(parts), self._max_workers()),
            pin_memory=device.type == "cuda",
            # The loader draws a seed for its workers; this keeps it off the global generator.
            generator=torch.Generator(),
            worker_init_fn=_ignore_interrupts,
        )
        try:
            for pixels in loader:
                yield pixels.to(device, non_blocking=True)
        except DataError as error:  # one from a worker has the traceback in its message
            raise DataError(
                str(error).strip().splitlines()[-1].split("DataError: ")[-1]
                + "; it could be read when the run began"
            ) from error

    def _max_workers(self) -> int:
        """As many workers as may have batches ready; each may have two."""
        images = images_at_once(self.image_shape, most=2**62, bytes_per_value=1)
        return max(1, _BLOCKS_READY * images // (2 * self.batch_size))


def _ignore_interrupts(worker: int) -> None:
    # Ctrl-C is sent to every process, and the run finishes its step before it stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _BatchReader:
    """A map-style dataset whose index is the list of a batch's indices."""

    def __init__(self, paths: Sequence[str], noise_indices: Tensor, reader: ImageReader) -> None:
        self.paths = paths
        self.noise_indices = noise_indices
        self.reader = reader

    def __getitem__(self, indices: list[int]) -> Tensor:
        return torch.stack(
            [self.reader(self.paths[index], int(self.noise_indices[index])) for index in indices]
        )
