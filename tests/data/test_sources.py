import errno
import http.server
import shutil
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest
import torch
import torchvision
from sklearn.datasets import load_digits

from conftest import write_fake_mnist
from vae_lightning.data import downloading
from vae_lightning.data.resizing import resize
from vae_lightning.data.sources import MNIST, Digits
from vae_lightning.errors import DataError

IMAGES = "train-images-idx3-ubyte"


@pytest.fixture
def closed_mirror(monkeypatch: pytest.MonkeyPatch) -> str:
    """MNIST's only mirror refuses every connection."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}/"
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [address])
    return address


@pytest.fixture
def silent_mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """MNIST's only mirror accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [address])
        yield address


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        pytest.fail("the network was used")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def use_checksums(monkeypatch: pytest.MonkeyPatch, checksums: dict[str, str]) -> None:
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", list(checksums.items()))


# -- digits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("train", "count"), [(True, 1437), (False, 360)])
def test_digits_are_bytes_over_the_whole_range_with_labels(train: bool, count: int) -> None:
    images, labels = Digits().load(Path("nowhere"), train)
    assert (images.shape, images.dtype) == ((count, 1, 8, 8), torch.uint8)
    assert (labels.shape, labels.dtype) == ((count,), torch.int64)
    assert (int(images.min()), int(images.max())) == (0, 255)


@pytest.mark.parametrize("train", [True, False])
def test_each_digit_is_about_a_tenth_of_its_split(train: bool) -> None:
    _, labels = Digits().load(Path("nowhere"), train)
    fractions = torch.bincount(labels, minlength=10) / len(labels)
    assert len(fractions) == 10
    assert 0.085 < float(fractions.min()) < float(fractions.max()) < 0.115


def test_the_digits_of_both_splits_are_those_of_scikit_learn_in_order() -> None:
    # Written by other people than the first images, the last ones are the test split.
    parts = [Digits().load(Path("nowhere"), train) for train in (True, False)]
    bunch = load_digits()
    assert torch.cat([labels for _, labels in parts]).tolist() == bunch.target.tolist()
    sixteenths = torch.cat([images for images, _ in parts]).squeeze(1).double() * 16 / 255
    assert torch.allclose(sixteenths, torch.from_numpy(bunch.images), atol=0.04)


def test_digits_scaled_to_28_pixels_keep_their_brightness_and_position() -> None:
    images, _ = Digits().load(Path("nowhere"), train=False)
    scaled = resize(images, 28)
    assert (scaled.shape, scaled.dtype) == ((360, 1, 28, 28), torch.uint8)
    assert abs(float(scaled.float().mean()) - float(images.float().mean())) < 2
    # Averaged back over the blocks that came of one pixel each, an image is nearly what it was.
    back = torch.nn.functional.adaptive_avg_pool2d(scaled.float(), 8)
    pairs = torch.stack([back.flatten(), images.float().flatten()])
    assert float(torch.corrcoef(pairs)[0, 1]) > 0.97


def test_resizing_to_the_same_size_changes_nothing() -> None:
    images, _ = Digits().load(Path("nowhere"), train=False)
    assert torch.equal(resize(images, 8), images)


def test_resizing_many_images_at_once_equals_resizing_each() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (5003, 1, 4, 4), dtype=torch.uint8, generator=generator)
    scaled = resize(images, 6)
    for index in (0, 4999, 5000, 5002):
        assert torch.equal(scaled[[index]], resize(images[[index]], 6))


# -- MNIST's files --------------------------------------------------------------------------------


@pytest.mark.parametrize(("train", "count"), [(True, 5), (False, 3)])
def test_images_and_labels_are_read_from_mnist_s_files(
    tmp_path: Path, train: bool, count: int
) -> None:
    write_fake_mnist(tmp_path)
    images, labels = MNIST().load(tmp_path, train)
    assert (images.shape, images.dtype) == ((count, 1, 28, 28), torch.uint8)
    assert (labels.tolist(), labels.dtype) == (list(range(count)), torch.int64)
    assert images[:, 0, 0, 0].tolist() == list(range(count))
    assert (images.flatten(1)[:, 1:] == 200).all()


def _cut(content: bytes) -> bytes:
    return content[:-1]


def _lengthened(content: bytes) -> bytes:
    return content + b"\0"


def _cut_in_the_header(content: bytes) -> bytes:
    return content[:7]


def _emptied(content: bytes) -> bytes:
    return b""


def _with_another_magic_number(content: bytes) -> bytes:
    return b"\x1f\x8b" + content[2:]


def _of_another_number_type(content: bytes) -> bytes:
    return b"\0\0\x0d" + content[3:]


@pytest.mark.parametrize("name", [IMAGES, "train-labels-idx1-ubyte"])
@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        _lengthened,
        _cut_in_the_header,
        _emptied,
        _with_another_magic_number,
        _of_another_number_type,
    ],
)
def test_a_broken_file_is_an_error_with_its_name(tmp_path: Path, name: str, damage: Any) -> None:
    write_fake_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="delete it and run again") as error:
        MNIST().load(tmp_path, train=True)
    assert str(path) in str(error.value)


def test_a_missing_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    write_fake_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / IMAGES
    path.unlink()
    with pytest.raises(DataError) as error:
        MNIST().load(tmp_path, train=True)
    assert str(path) in str(error.value)


# -- fetching -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("offline")
def test_existing_files_are_not_downloaded_again(tmp_path: Path) -> None:
    write_fake_mnist(tmp_path)
    MNIST().fetch(tmp_path)


@pytest.mark.usefixtures("offline")
def test_archives_with_the_right_checksum_are_unpacked_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checksums = write_fake_mnist(tmp_path, raw=False, archives=True)
    use_checksums(monkeypatch, checksums)
    MNIST().fetch(tmp_path)
    assert MNIST().load(tmp_path, train=True)[1].tolist() == list(range(5))
    assert MNIST().load(tmp_path, train=False)[1].tolist() == list(range(3))


@pytest.mark.parametrize("length", [0, 40, -1])
def test_a_broken_archive_that_no_mirror_replaces_is_an_error_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_mirror: str, length: int
) -> None:
    checksums = write_fake_mnist(tmp_path, raw=False, archives=True)
    use_checksums(monkeypatch, checksums)
    archive = tmp_path / "MNIST" / "raw" / f"{IMAGES}.gz"
    archive.write_bytes(archive.read_bytes()[:length])
    with pytest.raises(DataError, match="fails its checksum") as error:
        MNIST().fetch(tmp_path)
    assert str(archive) in str(error.value)
    assert closed_mirror in str(error.value)
    assert not archive.with_suffix("").exists()


def test_a_failed_download_is_an_error_with_two_alternatives(
    tmp_path: Path, closed_mirror: str
) -> None:
    with pytest.raises(DataError) as error:
        MNIST().fetch(tmp_path)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    for part in (str(tmp_path / "MNIST" / "raw"), closed_mirror, "data.root", "data=digits"):
        assert part in message
    assert not list(tmp_path.iterdir())  # or a copy of the files would land inside the empty folder


def _interrupted(target: Path) -> None:
    target.write_bytes(b"the first bytes")
    raise KeyboardInterrupt


def _cut_off(target: Path) -> None:
    target.write_bytes(b"the first bytes")
    raise RuntimeError("File not found or corrupted.")


@pytest.mark.parametrize(
    ("download", "error"), [(_interrupted, KeyboardInterrupt), (_cut_off, DataError)]
)
def test_a_download_that_is_cut_off_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, download: Any, error: type[BaseException]
) -> None:
    def download_url(url: str, root: str, filename: str) -> None:
        download(Path(root, filename))

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", download_url)
    with pytest.raises(error):
        MNIST().fetch(tmp_path / "new" / "data")
    assert not list(tmp_path.iterdir())


def test_an_archive_is_downloaded_and_unpacked_into_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = tmp_path / "mirror"
    use_checksums(monkeypatch, write_fake_mnist(served, raw=False, archives=True))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=served / "MNIST" / "raw")
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirrors = [f"http://127.0.0.1:{server.server_port}/{path}" for path in ("missing/", "")]
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", mirrors)
        MNIST().fetch(tmp_path / "data")
        server.shutdown()
    assert MNIST().load(tmp_path / "data", train=True)[1].tolist() == list(range(5))
    assert len(list((tmp_path / "data" / "MNIST" / "raw").iterdir())) == 8


def test_an_unpacking_that_stops_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_checksums(monkeypatch, write_fake_mnist(tmp_path, raw=False, archives=True))

    def copy(source: IO[bytes], target: IO[bytes]) -> None:
        target.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    with pytest.raises(DataError, match="no space left for"):
        MNIST().fetch(tmp_path)
    assert not (tmp_path / "MNIST" / "raw" / IMAGES).exists()
    assert all(file.suffix == ".gz" for file in (tmp_path / "MNIST" / "raw").iterdir())


def test_a_mirror_that_never_answers_times_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_mirror: str
) -> None:
    monkeypatch.setattr(downloading, "TIMEOUT_SECONDS", 0.3)
    started = time.perf_counter()
    with pytest.raises(DataError) as error:
        MNIST().fetch(tmp_path)
    assert 0.3 <= time.perf_counter() - started < 10
    assert f"{silent_mirror} (no answer in 0.3 s)" in str(error.value)
    # Other connections of this process must not inherit it.
    assert socket.getdefaulttimeout() is None


def test_a_full_disk_is_reported_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", fill)
    with pytest.raises(DataError, match=r"no space left for .*ubyte\.gz"):
        MNIST().fetch(tmp_path)


# -- the real MNIST -------------------------------------------------------------------------------

# How often each digit occurs, as counted by others in the files of 1998.
TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_the_real_mnist_has_the_published_counts_and_mean(mnist_root: Path) -> None:
    MNIST().fetch(mnist_root)
    images, labels = MNIST().load(mnist_root, train=True)
    assert images.shape == (60_000, 1, 28, 28)
    assert torch.bincount(labels).tolist() == TRAIN_COUNTS
    assert float(images.double().mean() / 255) == pytest.approx(0.1307, abs=5e-5)
    images, labels = MNIST().load(mnist_root, train=False)
    assert images.shape == (10_000, 1, 28, 28)
    assert torch.bincount(labels).tolist() == TEST_COUNTS
