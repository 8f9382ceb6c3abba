"""Samples to disk as they are made: in constant memory, and whole or not at all."""

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
from vae_lightning.generation.sampling import Block

Write = Callable[[Block], None]

# Blocks that may wait for the disk.
_WAITING = 4
_COPIED = 1 << 20


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place to write to, which is given its name at the end; after an error nothing is left.

    Args:
        path: of a file or a folder that is not there yet.
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
def npz(path: Path, count: int, like: Block) -> Iterator[Write]:
    """Write blocks into one `.npz`, with `images`, `latents` and, where there are any, `labels`.

    An archive takes one array after the other. So the images go straight into it, and the others,
    which are small, wait in files of no name.

    Args:
        path: of the file.
        count: images in all.
        like: a block of them.

    Raises:
        DataError: there is no room for so many.
    """
    others = {"latents": like.latents}
    if like.labels is not None:
        others["labels"] = like.labels
    # The others lie there twice for a moment.
    needed = count * (_bytes(like.images) + 2 * sum(map(_bytes, others.values())))
    if (free := shutil.disk_usage(path.parent).free) < needed:
        raise DataError(
            f"{path.parent} has no room for {count:,} images: they take {needed / 1e6:,.0f} MB, "
            f"and {free / 1e6:,.0f} MB are free: make room, or set output_dir to another disk"
        )
    with whole(path) as partial, ExitStack() as stack:
        waiting = {
            name: stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for name in others
        }
        archive = stack.enter_context(zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED))
        with _member(archive, "images", like.images, count) as images:

            def write(block: Block) -> None:
                images.write(block.images.numpy().data)
                for name, file in waiting.items():
                    file.write(getattr(block, name).numpy().data)

            yield write
        for name, file in waiting.items():
            file.seek(0)
            with _member(archive, name, others[name], count) as member:
                shutil.copyfileobj(file, member, _COPIED)


@contextmanager
def _member(archive: zipfile.ZipFile, name: str, like: Tensor, count: int) -> Iterator[IO[bytes]]:
    """An array in an archive, to whose end rows are written."""
    from numpy.lib import format

    array = like.numpy()
    header = {
        "descr": format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": (count, *array.shape[1:]),
    }
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        format.write_array_header_1_0(member, header)
        yield member


def _bytes(rows: Tensor) -> int:
    return rows[0].numel() * rows.element_size()


@contextmanager
def png_folder(path: Path, count: int, like: Block) -> Iterator[Write]:
    """Write blocks as PNGs, numbered in order; those of a class into a folder of its number.

    Args:
        path: of the folder.
        count: images in all.
        like: a block of them.
    """
    digits = len(str(count - 1))
    with whole(path) as folder:
        folder.mkdir()
        place = 0

        def write(block: Block) -> None:
            nonlocal place
            labels = [None] * len(block.images) if block.labels is None else block.labels.tolist()
            for image, label in zip(block.images, labels, strict=True):
                to = folder if label is None else folder / str(label)
                to.mkdir(exist_ok=True)
                # The fastest compression: files a tenth larger, made in a quarter of the time.
                to_pil(image).save(to / f"{place:0{digits}}.png", compress_level=1)
                place += 1

        yield write


@contextmanager
def in_a_thread(write: Write) -> Iterator[Write]:
    """Write while the next blocks are made; an error of the disk comes up at a later block."""
    waiting: deque[Future[Any]] = deque()
    thread = ThreadPoolExecutor(1)

    def write_later(block: Block) -> None:
        if len(waiting) == _WAITING:
            waiting.popleft().result()
        waiting.append(thread.submit(write, block))

    try:
        yield write_later
        while waiting:
            waiting.popleft().result()
    finally:
        thread.shutdown(cancel_futures=True)
