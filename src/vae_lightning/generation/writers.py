"""Writers of samples: in constant memory, and atomic, so that no partial file remains."""

import shutil
import tempfile
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from vae_lightning.drawing.grids import to_pil
from vae_lightning.errors import DataError
from vae_lightning.generation.sampling import SampleBatch

Write = Callable[[SampleBatch], None]

# Batches that may wait for the disk.
_QUEUED = 4
_COPIED_BYTES = 1 << 20


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write to a temporary path that is renamed at the end; after an error it is removed.

    Args:
        path: of a file or a folder that does not exist yet.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
        raise


@contextmanager
def npz_writer(path: Path, count: int, example: SampleBatch) -> Iterator[Write]:
    """Write batches into one `.npz` with `images`, `latents` and, if there are any, `labels`.

    An archive takes one array after the other. The images go straight into it; the other arrays,
    which are small, wait in temporary files.

    Args:
        path: of the file.
        count: images in all.
        example: a batch of them, for shapes and types.

    Raises:
        DataError: the disk has too little free space.
    """
    small = {"latents": example.latents}
    if example.labels is not None:
        small["labels"] = example.labels
    # The small arrays are on the disk twice for a moment.
    needed = count * (_row_bytes(example.images) + 2 * sum(map(_row_bytes, small.values())))
    if (free := shutil.disk_usage(path.parent).free) < needed:
        raise DataError(
            f"{path.parent} has no room for {count:,} images: they take {needed / 1e6:,.0f} MB, "
            f"and {free / 1e6:,.0f} MB are free: make room, or set output_dir to another disk"
        )
    with atomic(path) as partial, ExitStack() as stack:
        waiting = {
            name: stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for name in small
        }
        archive = stack.enter_context(zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED))
        with _array(archive, "images", example.images, count) as images:

            def write(batch: SampleBatch) -> None:
                images.write(batch.images.numpy().data)
                for name, file in waiting.items():
                    file.write(getattr(batch, name).numpy().data)

            yield write
        for name, file in waiting.items():
            file.seek(0)
            with _array(archive, name, small[name], count) as array:
                shutil.copyfileobj(file, array, _COPIED_BYTES)


@contextmanager
def _array(archive: zipfile.ZipFile, name: str, example: Tensor, count: int) -> Iterator[IO[bytes]]:
    """An array of `count` rows in an archive, open for writing its rows."""
    from numpy.lib import format

    array = example.numpy()
    header = {
        "descr": format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": (count, *array.shape[1:]),
    }
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        format.write_array_header_1_0(file, header)
        yield file


def _row_bytes(rows: Tensor) -> int:
    return rows[0].numel() * rows.element_size()


@contextmanager
def png_writer(path: Path, count: int) -> Iterator[Write]:
    """Write batches as numbered PNGs, with a folder for each class if there are labels.

    Args:
        path: of the folder.
        count: images in all.
    """
    digits = len(str(count - 1))
    with atomic(path) as folder:
        folder.mkdir()
        index = 0

        def write(batch: SampleBatch) -> None:
            nonlocal index
            labels = [None] * len(batch.images) if batch.labels is None else batch.labels.tolist()
            for image, label in zip(batch.images, labels, strict=True):
                to = folder if label is None else folder / str(label)
                to.mkdir(exist_ok=True)
                # The fastest compression: files are 10 % larger and take a quarter of the time.
                to_pil(image).save(to / f"{index:0{digits}}.png", compress_level=1)
                index += 1

        yield write


@contextmanager
def in_background(write: Write) -> Iterator[Write]:
    """Write in a thread while the next batches are decoded.

    An error of the disk is raised when a later batch is written, or at the end.
    """
    queued: deque[Future[Any]] = deque()
    thread = ThreadPoolExecutor(1)

    def write_later(batch: SampleBatch) -> None:
        if len(queued) == _QUEUED:
            queued.popleft().result()
        queued.append(thread.submit(write, batch))

    try:
        yield write_later
        while queued:
            queued.popleft().result()
    finally:
        thread.shutdown(cancel_futures=True)
