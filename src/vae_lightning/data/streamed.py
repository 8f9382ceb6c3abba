"""Batches read from files while a model trains."""

import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vae_lightning.data.batches import Batches
from vae_lightning.data.reader import Reader
from vae_lightning.errors import DataError


class StreamedBatches(Batches):
    """Batches read from files by worker processes, in the order of `ResidentBatches`.

    Args:
        labels: int64 (N,), on the device that batches are served on.
        batch_size, options: as for all batches.
        paths: of the files, every one of which can be read.
        places: of each image in its split, int64 (N,).
        reader: reads one file.
        num_workers: processes that read them, at the most.

    Shape:
        yields images float32 (B, C, H, W) in [0, 1] and labels int64 (B,).
    """

    def __init__(
        self,
        labels: Tensor,
        batch_size: int,
        *,
        paths: Sequence[str],
        places: Tensor,
        reader: Reader,
        num_workers: int,
        **options: Any,
    ) -> None:
        super().__init__(labels, batch_size, **options)
        self.paths = paths
        self.places = places
        self.reader = reader
        self.num_workers = num_workers

    @property
    def image_shape(self) -> Sequence[int]:
        return self.reader.image_shape

    def _gathered(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        from torch.utils.data import DataLoader

        device = self.labels.device
        loader: Any = DataLoader(
            _Gathered(self.paths, self.places, self.reader),  # type: ignore[arg-type]
            sampler=[part.tolist() for part in parts],
            batch_size=None,
            num_workers=min(self.num_workers, os.cpu_count() or 1, len(parts)),
            pin_memory=device.type == "cuda",
            # A generator of its own: the global one stays as it was.
            generator=torch.Generator(),
            worker_init_fn=_leave_interrupts_to_the_run,
        )
        try:
            for pixels in loader:
                yield pixels.to(device, non_blocking=True)
        except DataError as error:  # a worker's comes with its traceback
            raise DataError(
                str(error).strip().splitlines()[-1].split("DataError: ")[-1]
                + "; it could be read when the run began"
            ) from error


def _leave_interrupts_to_the_run(worker: int) -> None:
    # Ctrl-C reaches every process; a run finishes its step before it stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Gathered:
    """The images of a list of indices, as a DataLoader asks for them."""

    def __init__(self, paths: Sequence[str], places: Tensor, reader: Reader) -> None:
        self.paths = paths
        self.places = places
        self.reader = reader

    def __getitem__(self, indices: list[int]) -> Tensor:
        return torch.stack(
            [self.reader(self.paths[index], int(self.places[index])) for index in indices]
        )
