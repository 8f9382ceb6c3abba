"""CelebA: faces in colour, read from their files."""

import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from vae_lightning.data.downloading import check_file, fetch_archive, fetch_file, needed
from vae_lightning.data.file_dataset import FileDataset
from vae_lightning.data.image_reader import ImageReader
from vae_lightning.data.sources import ImageSource, Split
from vae_lightning.errors import DataError
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.progress import progress

_FOLDER, _IMAGES, _ARCHIVE = "celeba", "img_align_celeba", "img_align_celeba.zip"
_PARTITION, _ATTRIBUTES = "list_eval_partition.txt", "list_attr_celeba.txt"
# The numbers of the splits in the list of partitions.
_SPLITS: dict[Split, str] = {"train": "0", "val": "1", "test": "2"}
# Of the aligned images, in pixels.
_WIDTH = 178


class CelebA(ImageSource):
    """Aligned faces of celebrities, 178 by 218 pixels, with 40 attributes of each.

    The files are torchvision's, in the folder `celeba`: `img_align_celeba.zip`, or the folder
    `img_align_celeba` that it holds; `list_eval_partition.txt`; and, for an attribute,
    `list_attr_celeba.txt`.

    Args:
        attribute: the name of an attribute, such as `Smiling`, which makes two classes: without it
            and with it; None for no classes.
        crop: side of the square around the centre that is scaled to the size served; 140 is that of
            Tolstikhin et al. and Ghosh et al.; None crops as little as possible.
        max_resident_gb: images that take more memory than this stay in their files.
        num_workers: the maximum number of processes that read files while images are streamed.

    Raises:
        ValueError: a value is out of range.

    References:
        Liu, Luo, Wang and Tang, "Deep Learning Face Attributes in the Wild", 2015,
        https://arxiv.org/abs/1411.7766.
        Tolstikhin, Bousquet, Gelly and Schölkopf, "Wasserstein Auto-Encoders", 2018,
        https://arxiv.org/abs/1711.01558.
        Ghosh, Sajjadi, Vergari, Black and Schölkopf, "From Variational to Deterministic
        Autoencoders", 2020, https://arxiv.org/abs/1903.12436.
    """

    title = "CelebA"
    channels = 3
    num_train = 162_770
    num_val = 19_867
    num_test = 19_962
    memory_key = "data.source.max_resident_gb"

    def __init__(
        self,
        attribute: str | None,
        crop: int | None,
        max_resident_gb: float,
        num_workers: int,
    ) -> None:
        if crop is not None and not 1 <= crop <= _WIDTH:
            raise ValueError(f"crop={crop} is out of range: the images are {_WIDTH} pixels wide")
        at_least("max_resident_gb", max_resident_gb, 0)
        at_least("num_workers", num_workers, 0)
        self.attribute = attribute
        self.crop = crop
        self.max_resident_gb = max_resident_gb
        self.num_workers = num_workers
        self.class_names = () if attribute is None else (f"not {attribute}", attribute)
        self._names: dict[Split, Sequence[str]] = {}

    def fetch(self, root: Path) -> None:
        folder = root / _FOLDER
        known = self._known()
        files = ", ".join(self._texts())
        with needed(self.title, folder, f"{_ARCHIVE} (or the folder {_IMAGES}), {files}"):
            missing = [name for name in self._texts() if not (folder / name).exists()]
            if not (folder / _IMAGES).exists() and not (folder / _ARCHIVE).exists():
                missing.append(_ARCHIVE)
            if missing and find_spec("gdown") is None:
                raise DataError(
                    f"{', '.join(missing)} could not be downloaded from Google Drive: gdown is not "
                    "installed, pip install gdown"
                )
            for name in self._texts():
                fetch_file(folder, name, *known[name])
            fetch_archive(folder, _ARCHIVE, *known[_ARCHIVE], [_IMAGES], _unzip)
        if self.attribute is not None:
            self._labels(root)

    def open(self, root: Path, split: Split, size: tuple[int, int]) -> FileDataset:
        partition = self._lines(root, _PARTITION)
        chosen = [index for index, line in enumerate(partition) if line[1] == _SPLITS[split]]
        names = [f"{_FOLDER}/{_IMAGES}/{partition[index][0]}" for index in chosen]
        self._names[split] = names
        labels = torch.zeros(len(partition), dtype=torch.int64)
        if self.attribute is not None:
            labels = self._labels(root)
        total = len(partition) * self.channels * size[0] * size[1]
        return FileDataset(
            paths=[str(root / name) for name in names],
            labels=labels[torch.tensor(chosen, dtype=torch.int64)],
            indices=torch.arange(len(names)),
            noise_indices=torch.arange(len(names)),
            reader=ImageReader(
                self.channels, size, None if self.crop is None else (self.crop, self.crop)
            ),
            streamed=total > self.max_resident_gb * 1e9,
            on_error="raise",
            num_workers=self.num_workers,
            unreadable={},
            device=torch.device("cpu"),
            way_out=f"delete the folder {_IMAGES} to unpack {_ARCHIVE} again",
        )

    def file_names(self, split: Split) -> Sequence[str]:
        return self._names[split]

    def files(self, root: Path) -> Sequence[str] | None:
        # The lists tell which images there are. To look at each of 200,000 files takes seconds.
        names = [f"{_FOLDER}/{name}" for name in self._texts()]
        return names if all((root / name).exists() for name in names) else None

    def _texts(self) -> list[str]:
        return [_PARTITION] if self.attribute is None else [_PARTITION, _ATTRIBUTES]

    def _known(self) -> dict[str, tuple[str, list[str]]]:
        """The checksum and the address of each file."""
        import torchvision.datasets  # takes a second, which not every command needs

        return {
            name: (checksum, [f"https://drive.google.com/file/d/{drive_id}/view"])
            for drive_id, checksum, name in torchvision.datasets.CelebA.file_list
        }

    def _lines(self, root: Path, name: str) -> list[list[str]]:
        """The words of each line of a list.

        Raises:
            DataError: the file is missing or fails its checksum.
        """
        file = root / _FOLDER / name
        check_file(file, self._known()[name][0])
        return [line.split() for line in file.read_text(encoding="utf-8").splitlines()]

    def _labels(self, root: Path) -> torch.Tensor:
        """Whether each image has the attribute, int64 (N,)."""
        _, names, *rows = self._lines(root, _ATTRIBUTES)
        if self.attribute not in names:
            raise DataError(
                f"data.source.attribute={self.attribute} does not exist: choose one of "
                f"{', '.join(names)}"
            )
        column = names.index(self.attribute) + 1
        return torch.tensor([int(row[column] == "1") for row in rows])


def _unzip(archive: Path, into: Path) -> None:
    """Unpack the images of the archive into a folder of their own."""
    (into / _IMAGES).mkdir()
    with zipfile.ZipFile(archive) as packed:
        members: list[Any] = [item for item in packed.infolist() if item.filename.endswith(".jpg")]
        with progress("unpacking images", len(members)) as advance:
            for member in members:
                target = into / _IMAGES / Path(member.filename).name
                target.write_bytes(packed.read(member))
                advance(1)
