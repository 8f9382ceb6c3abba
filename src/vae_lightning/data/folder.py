"""A folder of the user's own images: which files it holds, their classes and their splits."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vae_lightning.data.files import image_files, is_image
from vae_lightning.data.in_files import InFiles, OnError
from vae_lightning.data.reader import Reader
from vae_lightning.data.sources import ImageSource, Split
from vae_lightning.utils.checks import at_least

# Of the test images' choice and order: runs are compared on the same images.
_SPLIT_SEED = 0


def class_folders(folder: Path) -> list[str]:
    """The classes of a folder: the sorted names of its first-level folders, as torchvision has it.

    There are none where images lie beside these folders, or where there is but one: such folders
    only keep order.
    """
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    names = sorted(entry.name for entry in shown if entry.is_dir())
    if len(names) < 2 or any(is_image(entry.name) and entry.is_file() for entry in shown):
        return []
    return names


def num_classes_of(root: str | None) -> int:
    """How many classes a folder of images has; 0 where it has none, or is no folder."""
    folder = Path(root or "").expanduser()
    if root is None or not folder.is_dir():
        return 0  # which is refused, in words, by what reads the folder
    train = folder / "train"
    return len(class_folders(train if train.is_dir() else folder))


def counted(name: str, value: float, total: int) -> int:
    """A number of images, given as a number, or below 1 as a share of `total`.

    Raises:
        ValueError: it is negative, or neither; the message starts with `name=value`.
    """
    at_least(name, value, 0)
    if value < 1:
        return max(1, round(value * total)) if value > 0 else 0
    if value != int(value):
        raise ValueError(f"{name}={value} is neither a number of images nor a share below 1")
    return int(value)


@dataclass(frozen=True)
class _Files:
    """Of one split: names below the root, sorted, and the label of each."""

    names: Sequence[str]
    labels: Sequence[int]

    def some(self, chosen: Sequence[int]) -> "_Files":
        return _Files([self.names[i] for i in chosen], [self.labels[i] for i in chosen])


class ImageFolder(ImageSource):
    """The images of a folder, nested as they are.

    With a folder `train` in it, its splits are the folders `train`, `test` and `val`, of which the
    last two may be missing; without, all its images. A test split that is missing is drawn from
    the training images, the same one for every run.

    Args:
        root: the folder. Its names are read at once, its images not before they are served.
        size: height and width that images are scaled to, in pixels, after the largest square
            around their middle is cut out.
        channels: 1 for grey, 3 for colour.
        test_size: test images drawn where there is no folder `test`: a number, or a share below 1.
        on_error: leave out files that cannot be read (`skip`), or stop (`raise`).
        max_resident_gb: images that take more memory than this stay in their files.
        num_workers: processes that read them from there.

    Raises:
        ValueError: a value is out of range, or the folder is missing or empty.
        DataError: a class without images, or a class of the test images only.
    """

    def __init__(
        self,
        root: str,
        size: int,
        channels: int,
        test_size: float,
        on_error: OnError,
        max_resident_gb: float,
        num_workers: int,
    ) -> None:
        at_least("size", size, 1)
        if channels not in (1, 3):
            raise ValueError(f"channels={channels} is out of range: 1 is grey, 3 is colour")
        at_least("max_resident_gb", max_resident_gb, 0)
        at_least("num_workers", num_workers, 0)
        folder = Path(root).expanduser()
        if not folder.is_dir():
            found = "is not a folder" if folder.exists() else "does not exist"
            raise ValueError(f"root={root} {found}: name the folder of your images")
        self.title = folder.resolve().name
        self.channels = channels
        self.on_error = on_error
        self.max_resident_gb = max_resident_gb
        self.num_workers = num_workers
        self.class_names, self._splits = _read_names(folder, test_size)
        self.num_train, self.num_val, self.num_test = (
            len(self._splits[name].names) for name in ("train", "val", "test")
        )
        total = self.num_train + self.num_val + self.num_test
        self.streamed = total * channels * size**2 > max_resident_gb * 1e9
        self.unreadable: dict[str, None] = {}

    def fetch(self, root: Path) -> None:
        """Nothing to do: the files are the user's own."""

    def open(self, root: Path, split: Split, size: int) -> InFiles:
        files = self._splits[split]
        return InFiles(
            [str(root / name) for name in files.names],
            torch.tensor(files.labels, dtype=torch.int64),
            torch.arange(len(files.names)),
            Reader(self.channels, size),
            self.streamed,
            self.on_error,
            self.num_workers,
            self.unreadable,
            torch.device("cpu"),
        )


def _read_names(folder: Path, test_size: float) -> tuple[tuple[str, ...], dict[str, _Files]]:
    for name in ("test", "val"):
        if (folder / name).is_dir() and not (folder / "train").is_dir():
            raise ValueError(
                f"root={folder} holds a folder {name} and no folder train: put the training "
                f"images into {folder / 'train'}"
            )
    start = folder / "train" if (folder / "train").is_dir() else folder
    classes = tuple(class_folders(start))
    splits = {"train": _labelled(folder, start, classes), "val": _Files([], [])}
    for label, name in enumerate(classes):
        if label not in splits["train"].labels:
            raise ValueError(
                f"root={folder} holds a class without images: put some into {start / name}, or "
                "remove it"
            )
    for name in ("test", "val"):
        if (folder / name).is_dir():
            files = _labelled(folder, folder / name, classes)
            # Whoever looks at the first images is to see all classes.
            splits[name] = files.some(_shuffled(len(files.names)))
    if "test" not in splits:
        total = len(splits["train"].names)
        count = counted("test_size", test_size, total)
        if not 0 < count < total:
            reason = "leaves nothing to train on" if count else "leaves nothing to test on"
            raise ValueError(
                f"test_size={test_size} {reason}: {folder} holds {total} training images, and no "
                f"folder test"
            )
        order = _shuffled(total)
        splits["test"] = splits["train"].some(order[:count])
        splits["train"] = splits["train"].some(sorted(order[count:]))
    return classes, splits


def _shuffled(count: int) -> list[int]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(_SPLIT_SEED)).tolist()


def _labelled(root: Path, folder: Path, classes: Sequence[str]) -> _Files:
    paths = image_files(folder)
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
