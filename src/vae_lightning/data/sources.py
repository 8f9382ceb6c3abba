"""Data sets with official splits, downloaded or installed with a library."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from vae_lightning.data.dataset import ImageDataset, InMemoryDataset
from vae_lightning.data.downloading import fetch_archive, gunzip
from vae_lightning.data.resizing import center_crop, resize
from vae_lightning.errors import DataError

Split = Literal["train", "val", "test"]


class ImageSource(ABC):
    """A data set with training and test splits.

    Attributes:
        title: its name in messages.
        channels: of its images.
        num_train, num_test: images in these splits, including files that cannot be read.
        num_val: images in an official validation split; 0 if there is none.
        class_names: the name of each label; empty if there are no classes, and all labels are 0.
        max_resident_gb: the maximum size of the images in memory, in gigabytes.
        memory_key: the configuration key of `max_resident_gb`.
        unreadable: paths of the files that could not be read so far and are left out, with reasons.
        ignored: how many files are not read, by ending.
    """

    title: str
    channels: int
    num_train: int
    num_test: int
    num_val: int = 0
    class_names: tuple[str, ...]
    max_resident_gb: float = math.inf
    memory_key: str = "data.max_resident_gb"
    unreadable: Mapping[str, str] = MappingProxyType({})
    ignored: Mapping[str, int] = MappingProxyType({})

    @abstractmethod
    def fetch(self, root: Path) -> None:
        """Download into `root` what is missing there.

        Raises:
            DataError: the download failed.
        """

    @abstractmethod
    def open(self, root: Path, split: Split, size: tuple[int, int]) -> ImageDataset:
        """The images of one split, scaled to `size`, their height and width in pixels.

        Raises:
            DataError: a file is missing or broken.
        """

    @abstractmethod
    def file_names(self, split: Split) -> Sequence[str] | None:
        """The file of each image of a split, relative to the root; None if images share files."""

    @abstractmethod
    def files(self, root: Path) -> Sequence[str] | None:
        """All files that images are read from, relative to the root.

        None if there are none, or if they still have to be downloaded.
        """


class Source(ImageSource):
    """A data set with official splits that fits into memory.

    Attributes:
        size: height and width of its images before they are scaled.
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

    def open(self, root: Path, split: Split, size: tuple[int, int]) -> InMemoryDataset:
        images, labels = self.load(root, train=split == "train")
        images = resize(center_crop(images, size), size).contiguous()
        return InMemoryDataset(images, labels, torch.arange(len(labels)))

    def file_names(self, split: Split) -> None:
        return None

    def files(self, root: Path) -> Sequence[str] | None:
        return None


class _IDX(Source):
    """Data sets in MNIST's file format, downloaded with torchvision's addresses and checksums."""

    channels = 1
    size = 28
    num_train = 60_000
    num_test = 10_000

    def _dataset(self) -> Any:
        import torchvision.datasets  # takes a second, which not every command needs

        return getattr(torchvision.datasets, type(self).__name__)

    def fetch(self, root: Path) -> None:
        dataset = self._dataset()
        folder = root / dataset.__name__ / "raw"
        try:
            for archive, checksum in dataset.resources:
                addresses = [mirror + archive for mirror in dataset.mirrors]
                content = archive.removesuffix(".gz")
                fetch_archive(folder, archive, checksum, addresses, [content], gunzip)
        except DataError as error:
            raise DataError(
                f"{self.title} is not in {folder}: {error}. Either put its four .gz files there "
                "(or set data.root to their folder), or use data=digits, which needs no files"
            ) from error

    def files(self, root: Path) -> Sequence[str] | None:
        names = [name for train in (True, False) for name in self._names(train)]
        return names if all((root / name).exists() for name in names) else None

    def _names(self, train: bool) -> tuple[str, str]:
        """The files of images and labels of a split, relative to the root."""
        start = f"{type(self).__name__}/raw/{'train' if train else 't10k'}"
        return f"{start}-images-idx3-ubyte", f"{start}-labels-idx1-ubyte"

    def load(self, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        images, labels = (read_idx(root / name) for name in self._names(train))
        return images.unsqueeze(1), labels.long()


class MNIST(_IDX):
    """Handwritten digits.

    References:
        LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998.
    """

    title = "MNIST"


class FashionMNIST(_IDX):
    """Pictures of clothes.

    References:
        Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
        Learning Algorithms", 2017, https://arxiv.org/abs/1708.07747.
    """

    title = "Fashion-MNIST"
    class_names = (
        "T-shirt", "trouser", "pullover", "dress", "coat",
        "sandal", "shirt", "sneaker", "bag", "ankle boot",
    )  # fmt: skip


class KMNIST(_IDX):
    """Cursive Japanese characters.

    References:
        Clanuwat, Bober-Irizar, Kitamoto, Lamb, Yamamoto and Ha, "Deep Learning for Classical
        Japanese Literature", 2018, https://arxiv.org/abs/1812.01718.
    """

    title = "KMNIST"
    class_names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


class Digits(Source):
    """The 1,797 digits of 8x8 pixels that are installed with scikit-learn.

    They have no official splits. The last 360 are the test split: other people wrote them.

    Example:
        >>> from pathlib import Path
        >>> images, labels = Digits().load(Path(), train=False)
        >>> images.shape, images.dtype
        (torch.Size([360, 1, 8, 8]), torch.uint8)

    References:
        Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
        Repository, 1998.
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


def read_idx(path: Path) -> Tensor:
    """Read a file of MNIST's format.

    Shape:
        returns uint8, of the shape that the header gives.

    Raises:
        DataError: it cannot be read, or is cut short.
    """
    # The sizes in the header tell whether a file is complete: unpacking may have been interrupted.
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
            "again to unpack or download it again"
        )
    return torch.frombuffer(raw, dtype=torch.uint8, offset=header).reshape(shape)
