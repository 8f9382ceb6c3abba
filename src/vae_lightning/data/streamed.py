"""Batches read from files while a model trains."""

import os
import signal
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vae_lightning.data.batches import Batches
from vae_lightning.errors import DataError

if TYPE_CHECKING:
    from vae_lightning.data.in_files import InFiles


class StreamedBatches(Batches):
    """Batches read from files by worker processes, in the order of `ResidentBatches`.

    Args:
        files: of which every one can be read.
        batch_size, options: as for all batches.

    Shape:
        yields images float32 (B, C, H, W) in [0, 1] and labels int64 (B,).
    """

    def __init__(self, files: "InFiles", batch_size: int, **options: Any) -> None:
        super().__init__(files.labels.to(files.device), batch_size, **options)
        self.files = files

    @property
    def image_shape(self) -> Sequence[int]:
        return self.files.reader.image_shape

    def _gathered(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        from torch.utils.data import DataLoader

        device = self.labels.device
        loader: Any = DataLoader(
            _Gathered(self.files),  # type: ignore[arg-type]
            sampler=[part.tolist() for part in parts],
            batch_size=None,
            num_workers=min(self.files.num_workers, os.cpu_count() or 1, len(parts)),
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

    def __init__(self, files: "InFiles") -> None:
        self.files = files

    def __getitem__(self, indices: list[int]) -> Tensor:
        files = self.files
        return torch.stack(
            [files.reader(files.paths[index], int(files.places[index])) for index in indices]
        )
