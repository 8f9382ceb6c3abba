"""Sources: data sets as uint8 tensors, from the files of a folder or from an installed library."""

import errno
import math
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.data.images import Images, InMemory
from vae_lightning.errors import DataError

# A mirror that says nothing for so long is given up.
TIMEOUT_SECONDS = 10.0


Split = Literal["train", "val", "test"]


class ImageSource(ABC):
    """A data set with training and test splits.

    Attributes:
        title: how people write its name.
        channels: of its images.
        num_train, num_test: images in these splits, so far as they can be read.
        num_val: images of a validation split of its own; 0 where it has none.
        class_names: the label's meaning, by label; none where labels mean nothing, and are 0.
        max_resident_gb: what its images may take of the memory, in gigabytes.
        unreadable: the files that could not be read and were left out, so far.
    """

    title: str
    channels: int
    num_train: int
    num_test: int
    num_val: int = 0
    class_names: tuple[str, ...]
    max_resident_gb: float = math.inf
    unreadable: Mapping[str, None] = MappingProxyType({})

    @abstractmethod
    def fetch(self, root: Path) -> None:
        """Make sure that the data is there, downloading into `root` what is not.

        Raises:
            DataError: it cannot be had.
        """

    @abstractmethod
    def open(self, root: Path, split: Split, size: int) -> Images:
        """The images of one split, scaled to `size` by `size` pixels.

        Raises:
            DataError: a file is missing or broken.
        """


class Source(ImageSource):
    """A data set with official splits that fits into memory.

    Attributes:
        size: what its images have of their own, before any resizing.
    """

    size: int
    class_names = tuple("0123456789")

    @abstractmethod
    def load(self, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        """Read one split.

        Shape:
            returns images uint8 (N, C, H, W) and labels int64 (N,).

        Raises:
            DataError: a file is missing or broken.
        """

    def open(self, root: Path, split: Split, size: int) -> InMemory:
        images, labels = self.load(root, train=split == "train")
        return InMemory(resize(images, size), labels)


class _IDX(Source):
    """Data sets in MNIST's file format, by torchvision's addresses and checksums."""

    channels = 1
    size = 28
    num_train = 60_000
    num_test = 10_000

    def _dataset(self) -> Any:
        import torchvision.datasets  # imported where it is used: it costs a second

        return getattr(torchvision.datasets, type(self).__name__)

    def fetch(self, root: Path) -> None:
        from torchvision.datasets.utils import download_and_extract_archive

        dataset = self._dataset()
        folder = root / dataset.__name__ / "raw"
        for archive, checksum in dataset.resources:
            if (folder / archive).with_suffix("").exists():
                continue
            had_archive = (folder / archive).exists()
            reasons = []
            for mirror in dataset.mirrors:
                try:
                    with _socket_timeout(TIMEOUT_SECONDS):
                        download_and_extract_archive(
                            mirror + archive, str(folder), filename=archive, md5=checksum
                        )
                    break
                except (RuntimeError, OSError, EOFError) as error:
                    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                        raise DataError(f"no space left for {folder / archive}") from error
                    reasons.append(f"{mirror} ({_reason(error)})")
            else:
                found = (
                    f"{folder / archive} fails its checksum and no mirror gave a good one"
                    if had_archive
                    else f"{self.title} is not in {folder} and could not be downloaded"
                )
                raise DataError(
                    f"{found}: {'; '.join(reasons)}. Either put its four .gz files into {folder} "
                    "(or set data.root to where they are), or use data=digits, which needs none"
                )

    def load(self, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        split = "train" if train else "t10k"
        folder = root / type(self).__name__ / "raw"
        images = _read_idx(folder / f"{split}-images-idx3-ubyte")
        labels = _read_idx(folder / f"{split}-labels-idx1-ubyte")
        return images.unsqueeze(1), labels.long()


class MNIST(_IDX):
    """Handwritten digits (LeCun, Cortes and Burges, 1998)."""

    title = "MNIST"


class FashionMNIST(_IDX):
    """Pictures of clothes (Xiao, Rasul and Vollgraf, 2017)."""

    title = "Fashion-MNIST"
    class_names = (
        "T-shirt", "trouser", "pullover", "dress", "coat",
        "sandal", "shirt", "sneaker", "bag", "ankle boot",
    )  # fmt: skip


class KMNIST(_IDX):
    """Cursive Japanese characters (Clanuwat et al., 2018)."""

    title = "KMNIST"
    class_names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


class Digits(Source):
    """The 1,797 digits of 8x8 pixels inside scikit-learn (Alpaydin and Kaynak, 1998).

    They come without official splits. The last 360 are the test split: they were written by other
    people than the first ones.
    """

    title = "scikit-learn digits"
    channels = 1
    size = 8
    num_train = 1437
    num_test = 360

    def fetch(self, root: Path) -> None:
        """Nothing to do: the images are installed with scikit-learn."""

    def load(self, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = torch.from_numpy(bunch.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)
        labels = torch.from_numpy(bunch.target).long()
        chosen = slice(None, self.num_train) if train else slice(self.num_train, None)
        return images[chosen], labels[chosen]


def resize(images: Tensor, size: int) -> Tensor:
    """Scale images to `size` by `size` pixels, bilinearly and without aliasing.

    Shape:
        images uint8 (N, C, H, W); returns uint8 (N, C, size, size).
    """
    if images.shape[-2:] == (size, size):
        return images
    parts = [
        F.interpolate(part.float(), (size, size), mode="bilinear", antialias=True)
        for part in images.split(5000)
    ]
    return torch.cat([part.round().clamp(0, 255).to(torch.uint8) for part in parts])


def _read_idx(path: Path) -> Tensor:
    # A file that an earlier run left half unpacked is caught by the sizes in its own header.
    try:
        raw = bytearray(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    dimensions = raw[3] if raw[:3] == b"\0\0\x08" and len(raw) > 3 else 0
    header = 4 + 4 * dimensions
    shape = [int.from_bytes(raw[at : at + 4], "big") for at in range(4, header, 4)]
    if dimensions == 0 or len(raw) != header + math.prod(shape):
        raise DataError(
            f"{path} is cut short or not an IDX file ({len(raw):,} bytes): delete it and run "
            "again, and it is unpacked or downloaded anew"
        )
    return torch.frombuffer(raw, dtype=torch.uint8, offset=header).reshape(shape)


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {TIMEOUT_SECONDS:g} s"
    return str(getattr(error, "reason", error)).splitlines()[0]
