"""Samples on disk: complete, or not there at all."""

import errno
import io
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tiny import tiny_vae
from tiny_samples import batches_of
from vae_lightning.errors import DataError
from vae_lightning.generation import writers
from vae_lightning.generation.sampling import SampleBatch


@pytest.mark.parametrize("format_", ["npz", "png"])
def test_an_interrupt_leaves_no_files(tmp_path: Path, format_: str) -> None:
    first, second = batches_of(tiny_vae().eval(), 8)
    path = tmp_path / "samples"
    is_npz = format_ == "npz"
    writer = writers.npz_writer(path, 8, first) if is_npz else writers.png_writer(path, 8)

    def interrupted() -> None:
        with writer as write, writers.in_background(write) as later:
            later(first)
            later(second)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


class FullDisk(io.BytesIO):
    """Takes some bytes and no more."""

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > 300:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_a_full_disk_raises_its_error_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_file = zipfile.ZipFile

    def on_a_full_disk(path: Path, *args: Any) -> zipfile.ZipFile:
        path.touch()
        return whole_file(FullDisk(), *args)

    monkeypatch.setattr(zipfile, "ZipFile", on_a_full_disk)
    batches = list(batches_of(tiny_vae().eval(), 40))

    def fill() -> None:
        with (
            writers.npz_writer(tmp_path / "samples.npz", 40, batches[0]) as write,
            writers.in_background(write) as write_later,
        ):
            for batch in batches:
                write_later(batch)

    with pytest.raises(OSError, match="No space left") as error:
        fill()
    assert error.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_too_little_free_space_is_found_before_any_image_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each has 16 bytes of image, and twice 8 of latents.
    room = 1000 * (16 + 2 * 8)
    first = next(batches_of(tiny_vae().eval(), 4))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=room))
    with (
        pytest.raises(DataError, match="no room for 1,001 images"),
        writers.npz_writer(tmp_path / "samples.npz", 1001, first),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    with (
        pytest.raises(KeyboardInterrupt),
        writers.npz_writer(tmp_path / "samples.npz", 1000, first),
    ):
        raise KeyboardInterrupt


def test_an_error_in_the_thread_is_raised_while_few_batches_wait() -> None:
    produced: list[int] = []
    written: list[int] = []
    batch = next(batches_of(tiny_vae().eval(), 4))

    def write(_: SampleBatch) -> None:
        written.append(len(produced))
        if len(written) == 3:
            raise OSError(errno.EIO, "broken")

    def run() -> None:
        with writers.in_background(write) as write_later:
            for number in range(50):
                produced.append(number)
                write_later(batch)

    with pytest.raises(OSError, match="broken"):
        run()
    assert len(produced) < 20
