"""CIFAR-10 and SVHN: colour images of 32 by 32 pixels with official splits."""

import pickle
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vae_lightning.data.downloading import check_file, fetch_archive, fetch_file, needed
from vae_lightning.data.sources import Source
from vae_lightning.errors import DataError


class CIFAR10(Source):
    """Photographs of ten kinds of things, in colour.

    The files are torchvision's: `cifar-10-batches-py/`, or `cifar-10-python.tar.gz`. They are
    pickled, and are read without running what a pickle may ask for.

    References:
        Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    title = "CIFAR-10"
    channels = 3
    size = 32
    num_train = 50_000
    num_test = 10_000
    class_names = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip

    def fetch(self, root: Path) -> None:
        known = self._known()
        with needed(self.title, root, known.filename):
            fetch_archive(
                root, known.filename, known.tgz_md5, [known.url], list(self._batches()), _untar
            )

    def files(self, root: Path) -> Sequence[str] | None:
        names = list(self._batches())
        return names if all((root / name).exists() for name in names) else None

    def load(self, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        images, labels = [], []
        for name, checksum in self._batches().items():
            if train == name.endswith("test_batch"):
                continue
            check_file(root / name, checksum)
            batch = _unpickled(root / name)
            images.append(torch.from_numpy(batch["data"]).reshape(-1, 3, 32, 32))
            labels += batch["labels"]
        return torch.cat(images), torch.tensor(labels)

    def _known(self) -> Any:
        """What torchvision knows of the files."""
        import torchvision.datasets  # takes a second, which not every command needs

        return torchvision.datasets.CIFAR10

    def _batches(self) -> dict[str, str]:
        """The checksums of the batches, by their file relative to the root."""
        known = self._known()
        return {
            f"{known.base_folder}/{name}": checksum
            for name, checksum in [*known.train_list, *known.test_list]
        }


def _untar(archive: Path, into: Path) -> None:
    import shutil

    with tarfile.open(archive) as packed:
        for member in packed.getmembers():
            name = Path(member.name)
            if not member.isfile() or len(name.parts) != 2 or ".." in name.parts:
                continue
            (into / name).parent.mkdir(exist_ok=True)
            source = packed.extractfile(member)
            assert source is not None
            with source, (into / name).open("wb") as file:
                shutil.copyfileobj(source, file)


class _ArrayUnpickler(pickle.Unpickler):
    """Reads pickled dicts, lists, numbers, text and NumPy arrays, and nothing else."""

    _ALLOWED = (
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _unpickled(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            return _ArrayUnpickler(opened, encoding="latin1").load()
    except (OSError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise DataError(f"{file} cannot be read as a batch of CIFAR-10: {error}") from error


class SVHN(Source):
    """House numbers in photographs, in colour: the digit in the centre is the label.

    The files are torchvision's `train_32x32.mat` and `test_32x32.mat`, in the folder `SVHN`. The
    531,131 easier images of `extra` are not used.

    References:
        Netzer, Wang, Coates, Bissacco, Wu and Ng, "Reading Digits in Natural Images with
        Unsupervised Feature Learning", 2011.
    """

    title = "SVHN"
    channels = 3
    size = 32
    num_train = 73_257
    num_test = 26_032

    def fetch(self, root: Path) -> None:
        files = self._files()
        with needed(self.title, root / "SVHN", " and ".join(name for _, name, _ in files)):
            for address, name, checksum in files:
                fetch_file(root / "SVHN", name, checksum, [address])

    def files(self, root: Path) -> Sequence[str] | None:
        names = [f"SVHN/{name}" for _, name, _ in self._files()]
        return names if all((root / name).exists() for name in names) else None

    def load(self, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        _, name, checksum = self._files()[0 if train else 1]
        content = read_matlab(root / "SVHN" / name, checksum, ("X", "y"))
        images = torch.from_numpy(content["X"]).permute(3, 2, 0, 1).contiguous()
        # The files give the digit 0 the label 10.
        return images, torch.from_numpy(content["y"].astype("int64")).flatten() % 10

    def _files(self) -> list[tuple[str, str, str]]:
        """Address, name and checksum of the files of training and test."""
        import torchvision.datasets  # takes a second, which not every command needs

        known = torchvision.datasets.SVHN.split_list
        return [(known[split][0], known[split][1], known[split][2]) for split in ("train", "test")]


def read_matlab(file: Path, checksum: str, names: Sequence[str]) -> dict[str, Any]:
    """Read arrays of a `.mat` file after its checksum.

    Raises:
        DataError: it is missing, fails its checksum, or lacks an array.
    """
    import scipy.io

    check_file(file, checksum)
    load: Callable[..., dict[str, Any]] = scipy.io.loadmat
    try:
        content = load(file, variable_names=names)
        return {name: content[name] for name in names}
    except Exception as error:  # scipy raises many types for broken files
        raise DataError(f"{file} cannot be read as a .mat file: {error}") from error
