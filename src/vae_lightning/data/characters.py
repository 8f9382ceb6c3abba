"""EMNIST and OMNIGLOT: handwritten characters of 28 by 28 grey pixels."""

import gzip
import shutil
import string
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vae_lightning.data.colour_sources import read_matlab
from vae_lightning.data.downloading import fetch_archive, fetch_file, needed
from vae_lightning.data.sources import Source, read_idx
from vae_lightning.errors import DataError

EMNISTSplit = Literal["balanced", "byclass", "bymerge", "digits", "letters", "mnist"]


class _Facts(NamedTuple):
    """Images of a split of EMNIST, and its classes in the order of their labels."""

    num_train: int
    num_test: int
    classes: str


# Lower-case letters that are one class with their capitals in `balanced` and `bymerge`.
_MERGED = "cijklmopsuvwxyz"
_BOTH = string.digits + string.ascii_uppercase
_LOWER = "".join(letter for letter in string.ascii_lowercase if letter not in _MERGED)
_FACTS: dict[EMNISTSplit, _Facts] = {
    "balanced": _Facts(112_800, 18_800, _BOTH + _LOWER),
    "byclass": _Facts(697_932, 116_323, _BOTH + string.ascii_lowercase),
    "bymerge": _Facts(697_932, 116_323, _BOTH + _LOWER),
    "digits": _Facts(240_000, 40_000, string.digits),
    "letters": _Facts(124_800, 20_800, string.ascii_lowercase),
    "mnist": _Facts(60_000, 10_000, string.digits),
}


def num_classes_of(split: str) -> int:
    """The number of classes of a split of EMNIST; 0 if there is no such split."""
    # `EMNIST` raises the error.
    return next((len(facts.classes) for name, facts in _FACTS.items() if name == split), 0)


class EMNIST(Source):
    """Handwritten digits and letters.

    The file is torchvision's `gzip.zip`, in the folder `EMNIST/raw`; the four files of the split
    are unpacked from it. They hold transposed images, and labels of `letters` that start at 1:
    here images are upright, and labels start at 0.

    Args:
        split: which images: `balanced` has 47 classes of the same size, `byclass` 62 classes,
            `bymerge` the same images in 47 classes, `letters` 26 letters in both cases, `digits` 10
            digits, `mnist` those of MNIST, prepared anew.

    References:
        Cohen, Afshar, Tapson and van Schaik, "EMNIST: an extension of MNIST to handwritten
        letters", 2017, https://arxiv.org/abs/1702.05373.
    """

    channels = 1
    size = 28

    def __init__(self, split: EMNISTSplit) -> None:
        if split not in _FACTS:
            raise ValueError(f"split={split} does not exist: choose one of {', '.join(_FACTS)}")
        self.split = split
        self.title = f"EMNIST {split}"
        self.num_train, self.num_test, classes = _FACTS[split]
        self.class_names = tuple(classes)

    def fetch(self, root: Path) -> None:
        import torchvision.datasets  # takes a second, which not every command needs

        known = torchvision.datasets.EMNIST
        folder = root / "EMNIST" / "raw"
        contents = [Path(name).name for name in self._names()]
        with needed(self.title, folder, "gzip.zip"):
            fetch_archive(
                folder,
                "gzip.zip",
                known.md5,
                [known.url],
                contents,
                lambda archive, into: _unpack(archive, into, contents),
            )

    def files(self, root: Path) -> Sequence[str] | None:
        names = self._names()
        return names if all((root / name).exists() for name in names) else None

    def load(self, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        names = self._names()[:2] if train else self._names()[2:]
        images, labels = (read_idx(root / name) for name in names)
        first = 1 if self.split == "letters" else 0
        return images.mT.unsqueeze(1).contiguous(), labels.long() - first

    def _names(self) -> list[str]:
        """The files of images and labels, first those of training, relative to the root."""
        return [
            f"EMNIST/raw/emnist-{self.split}-{part}-{kind}-ubyte"
            for part in ("train", "test")
            for kind in ("images-idx3", "labels-idx1")
        ]


def _unpack(archive: Path, into: Path, names: Sequence[str]) -> None:
    """Unpack some of the `.gz` files in a `.zip`."""
    with zipfile.ZipFile(archive) as packed:
        members = {Path(member).name: member for member in packed.namelist()}
        for name in names:
            if f"{name}.gz" not in members:
                raise DataError(f"{archive} holds no {name}.gz")
            with (
                packed.open(members[f"{name}.gz"]) as member,
                gzip.open(member) as source,
                (into / name).open("wb") as file,
            ):
                shutil.copyfileobj(source, file)


class Omniglot(Source):
    """Characters of 50 alphabets, in the version of Burda et al. that VAEs are compared on.

    The file is `chardata.mat` of the authors' repository, in the folder `OMNIGLOT`: 24,345 training
    and 8,070 test images of 28 by 28 grey pixels. They are not the images of 105 by 105 pixels of
    torchvision, whose splits are alphabets. The labels are the alphabets, which the file does not
    name.

    References:
        Lake, Salakhutdinov and Tenenbaum, "Human-level concept learning through probabilistic
        program induction", Science, 2015.
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016,
        https://arxiv.org/abs/1509.00519.
    """

    title = "OMNIGLOT"
    channels = 1
    size = 28
    num_train = 24_345
    num_test = 8_070
    class_names = tuple(map(str, range(50)))

    # The name that git gives the content of the file in the only version of the repository.
    checksum = "016a3536ffe5e1d38e42563a18d7a78bfaf643ec"
    address = (
        "https://github.com/yburda/iwae/raw/78a6075484bd7dd6f47a4bb9880d2295bc7a5220/"
        "datasets/OMNIGLOT/chardata.mat"
    )

    def fetch(self, root: Path) -> None:
        folder = root / "OMNIGLOT"
        with needed(self.title, folder, "chardata.mat"):
            fetch_file(folder, "chardata.mat", self.checksum, [self.address])

    def files(self, root: Path) -> Sequence[str] | None:
        name = "OMNIGLOT/chardata.mat"
        return [name] if (root / name).exists() else None

    def load(self, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        names = ("data", "target") if train else ("testdata", "testtarget")
        content = read_matlab(root / "OMNIGLOT" / "chardata.mat", self.checksum, names)
        columns, one_hot = (torch.from_numpy(content[name]) for name in names)
        # MATLAB stores an image column by column, and images as columns.
        images = columns.mT.reshape(-1, 1, 28, 28).mT
        pixels = images.double().mul(255).round_().clamp_(0, 255).to(torch.uint8)
        return pixels.contiguous(), one_hot.argmax(0)
