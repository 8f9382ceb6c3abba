"""A folder of image files as a source: its files, their classes and their splits."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from vae_lightning.data.file_dataset import FileDataset, OnError
from vae_lightning.data.image_files import is_image, list_images
from vae_lightning.data.image_reader import ImageReader
from vae_lightning.data.sources import ImageSource, Split
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.image_size import height_and_width

ClassOrder = Literal["number", "text"]

# Of the choice of test images and their order, so that all runs have the same ones.
_SPLIT_SEED = 0


def class_folders(folder: Path, order: ClassOrder) -> list[str]:
    """The classes of a folder: the sorted names of its subfolders.

    A folder has no classes if it has fewer than two subfolders, or if it holds images itself.

    Args:
        folder: their parent.
        order: `number` sorts digits in names as numbers, so that 2 comes before 10; `text` sorts by
            characters, as torchvision's ImageFolder does.
    """
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    names = sorted(entry.name for entry in visible if entry.is_dir())
    if len(names) < 2 or any(is_image(entry.name) and entry.is_file() for entry in visible):
        return []
    return sorted(names, key=_by_number) if order == "number" else names


def _by_number(name: str) -> list[tuple[int, str]]:
    # Text and numbers alternate, the first being text, so that like is compared with like.
    parts = re.split("([0-9]+)", name)
    return [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts)]


def num_classes_of(root: str | None) -> int:
    """The number of classes of a folder of images; 0 if it has none, or if there is no folder."""
    folder = Path(root or "").expanduser()
    if root is None or not folder.is_dir():
        return 0  # `ImageFolder` raises the error
    train = folder / "train"
    return len(class_folders(train if train.is_dir() else folder, "text"))


def number_of_images(name: str, value: float, total: int) -> int:
    """A number of images, from a number or from a fraction of `total` below 1.

    Raises:
        ValueError: it is negative, or neither a number nor a fraction; the message starts with
            `name=value`.

    Example:
        >>> number_of_images("test_size", 0.1, 40), number_of_images("test_size", 3, 40)
        (4, 3)
    """
    at_least(name, value, 0)
    if value < 1:
        return max(1, round(value * total)) if value > 0 else 0
    if value != int(value):
        raise ValueError(f"{name}={value} is neither a number of images nor a fraction below 1")
    return int(value)


@dataclass(frozen=True)
class _Files:
    """The files of one split, relative to the root, and their labels."""

    names: Sequence[str]
    labels: Sequence[int]

    def select(self, chosen: Sequence[int]) -> "_Files":
        return _Files([self.names[i] for i in chosen], [self.labels[i] for i in chosen])


class ImageFolder(ImageSource):
    """The images of a folder and its subfolders.

    If the folder has a subfolder `train`, the splits are its subfolders `train`, `test` and `val`,
    of which the last two may be missing; otherwise all its images are training images. A missing
    test split is drawn from the training images, with the same seed in every run.

    Args:
        root: the folder. File names are read at once, images when they are served.
        size: as for `ImageDataModule`.
        channels: 1 for grey, 3 for colour.
        test_size: test images if there is no folder `test`: a number, or a fraction below 1.
        on_error: leave out files that cannot be read (`skip`), or stop (`raise`).
        max_resident_gb: images that take more memory than this stay in their files.
        num_workers: the maximum number of processes that read files while images are streamed.
        class_order: as for `class_folders`.

    Raises:
        ValueError: a value is out of range, the folder is missing, a class has no training images,
            or an image belongs to no class.
        DataError: a folder holds no images.
    """

    def __init__(
        self,
        root: str,
        size: int | Sequence[int],
        channels: int,
        test_size: float,
        on_error: OnError,
        max_resident_gb: float,
        num_workers: int,
        class_order: ClassOrder,
    ) -> None:
        height, width = height_and_width(size)
        if channels not in (1, 3):
            raise ValueError(f"channels={channels} is out of range: 1 is grey, 3 is colour")
        at_least("max_resident_gb", max_resident_gb, 0)
        at_least("num_workers", num_workers, 0)
        folder = Path(root).expanduser()
        if not folder.is_dir():
            reason = "is not a folder" if folder.exists() else "does not exist"
            raise ValueError(f"root={root} {reason}: name the folder of your images")
        self.title = folder.resolve().name
        self.channels = channels
        self.on_error = on_error
        self.max_resident_gb = max_resident_gb
        self.num_workers = num_workers
        start = folder / "train" if (folder / "train").is_dir() else folder
        self.class_names = tuple(class_folders(start, class_order))
        self.ignored: Counter[str] = Counter()
        self._splits = _read_names(folder, self.class_names, test_size, self.ignored)
        self.num_train, self.num_val, self.num_test = (
            len(self._splits[name].names) for name in ("train", "val", "test")
        )
        total = self.num_train + self.num_val + self.num_test
        self.streamed = total * channels * height * width > max_resident_gb * 1e9
        self.unreadable: dict[str, str] = {}

    def fetch(self, root: Path) -> None:
        """Nothing to do: the files are not downloaded."""

    def open(self, root: Path, split: Split, size: tuple[int, int]) -> FileDataset:
        files = self._splits[split]
        return FileDataset(
            paths=[str(root / name) for name in files.names],
            labels=torch.tensor(files.labels, dtype=torch.int64),
            indices=torch.arange(len(files.names)),
            noise_indices=torch.arange(len(files.names)),
            reader=ImageReader(self.channels, size),
            streamed=self.streamed,
            on_error=self.on_error,
            num_workers=self.num_workers,
            unreadable=self.unreadable,
            device=torch.device("cpu"),
        )

    def file_names(self, split: Split) -> Sequence[str]:
        return self._splits[split].names

    def files(self, root: Path) -> Sequence[str]:
        return [name for files in self._splits.values() for name in files.names]


def _read_names(
    folder: Path, classes: Sequence[str], test_size: float, ignored: Counter[str]
) -> dict[str, _Files]:
    """The files of each split; other files are counted in `ignored`."""
    for name in ("test", "val"):
        if (folder / name).is_dir() and not (folder / "train").is_dir():
            raise ValueError(
                f"root={folder} holds a folder {name} and no folder train: put the training "
                f"images into {folder / 'train'}"
            )
    start = folder / "train" if (folder / "train").is_dir() else folder
    splits = {"train": _labelled(folder, start, classes, ignored), "val": _Files([], [])}
    for label, name in enumerate(classes):
        if label not in splits["train"].labels:
            raise ValueError(
                f"root={folder} holds a class without images: put some into {start / name}, or "
                "remove it"
            )
    for name in ("test", "val"):
        if (folder / name).is_dir():
            files = _labelled(folder, folder / name, classes, ignored)
            # Shuffled, so that the first images are not all of one class.
            splits[name] = files.select(shuffled(len(files.names)))
    if "test" not in splits:
        total = len(splits["train"].names)
        count = number_of_images("test_size", test_size, total)
        if not 0 < count < total:
            reason = "leaves nothing to train on" if count else "leaves nothing to test on"
            raise ValueError(
                f"test_size={test_size} {reason}: {folder} holds {total} training images, and no "
                f"folder test"
            )
        order = shuffled(total)
        splits["test"] = splits["train"].select(order[:count])
        splits["train"] = splits["train"].select(sorted(order[count:]))
    if start != folder and (outside := _count_outside(folder)):
        ignored["outside of train/, val/ and test/"] = outside
    return splits


def _count_outside(folder: Path) -> int:
    """How many files, hidden ones aside, are in none of the folders of the splits."""
    count = 0
    for parent, folders, names in os.walk(folder, followlinks=True):
        at_top = Path(parent) == folder
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not (at_top and name in ("train", "val", "test"))
        ]
        count += sum(not name.startswith(".") for name in names)
    return count


def shuffled(count: int) -> list[int]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(_SPLIT_SEED)).tolist()


def _labelled(root: Path, folder: Path, classes: Sequence[str], ignored: Counter[str]) -> _Files:
    listing = list_images(folder)
    paths = listing.images
    ignored.update(listing.ignored)
    if not classes:
        return _Files([str(path.relative_to(root)) for path in paths], [0] * len(paths))
    depth = len(folder.parts)
    known = {name: label for label, name in enumerate(classes)}
    labels = []
    for path in paths:
        name = path.parts[depth]
        if name not in known or len(path.parts) == depth + 1:
            raise ValueError(
                f"root={root} has classes, and {path} is in none of them: they are "
                f"{', '.join(classes)}"
            )
        labels.append(known[name])
    return _Files([str(path.relative_to(root)) for path in paths], labels)
