"""A file of arrays as a source: its images as bytes, and their splits."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_lightning.data.array_files import ArrayFile, Layout
from vae_lightning.data.dataset import InMemoryDataset
from vae_lightning.data.image_folder import number_of_images, shuffled
from vae_lightning.data.resizing import center_crop, resize
from vae_lightning.data.sources import ImageSource, Split
from vae_lightning.errors import DataError
from vae_lightning.utils.blocks import images_at_once


class Arrays(ImageSource):
    """The images of a `.npz`, `.npy` or `.pt` file.

    Floats are rounded to 256 levels, because images are kept as bytes. A test split that is not in
    the file is drawn from the training images, with the same seed in every run.

    Args:
        path: the file. Its headers and labels are read at once, and images when they are served.
        test_size: test images if they are not in the file: a number, or a fraction below 1.

    Raises:
        ValueError: there is no such file, or a value is out of range.
        DataError: it holds no images, or arrays that do not fit.
    """

    def __init__(self, path: str, test_size: float) -> None:
        self.path = Path(path).expanduser().absolute()
        if not self.path.is_file():
            if self.path.is_dir():
                raise ValueError(
                    f"path={path} is a folder: name a file of arrays, or use data=image_folder "
                    f"data.root={path}"
                )
            raise ValueError(f"path={path} does not exist: name the file of your images")
        self._file = ArrayFile(self.path)
        self.title = self.path.name
        self.channels = self._file.image_shape[0]
        self.class_names = self._file.class_names
        # The arrays that each split is taken from, and which of their images.
        self._splits: dict[Split, tuple[str, Sequence[int] | None]] = {}
        if "test" in self._file.prefixes:
            self._splits = {"train": ("train", None), "test": ("test", None)}
        else:
            whole = next(iter(self._file.prefixes))
            total = self._file.count(whole)
            count = number_of_images("test_size", test_size, total)
            if not 0 < count < total:
                reason = "leaves nothing to train on" if count else "leaves nothing to test on"
                raise ValueError(
                    f"test_size={test_size} {reason}: {self.path} holds {total} images, and no "
                    "test_images"
                )
            order = shuffled(total)
            self._splits = {"train": (whole, sorted(order[count:])), "test": (whole, order[:count])}
        if "val" in self._file.prefixes:
            self._splits["val"] = ("val", None)
        self.num_train, self.num_test = self._count("train"), self._count("test")
        self.num_val = self._count("val")

    def fetch(self, root: Path) -> None:
        """Read the images, so that values that do not fit are refused before a run starts.

        Raises:
            DataError: there are such values, or the file cannot be read.
        """
        _ = self._images

    def open(self, root: Path, split: Split, size: tuple[int, int]) -> InMemoryDataset:
        if split not in self._splits:
            return InMemoryDataset(
                torch.empty(0, self.channels, *size, dtype=torch.uint8),
                torch.empty(0, dtype=torch.int64),
                torch.empty(0, dtype=torch.int64),
            )
        name, chosen = self._splits[split]
        images, labels = self._images[name], torch.from_numpy(self._file.labels(name))
        if chosen is not None:
            images, labels = images[chosen], labels[chosen]
        images = resize(center_crop(images, size), size).contiguous()
        return InMemoryDataset(images, labels, torch.arange(len(labels)))

    def file_names(self, split: Split) -> None:
        return None

    def files(self, root: Path) -> Sequence[str]:
        return [self.path.name]

    @cached_property
    def _images(self) -> dict[str, Tensor]:
        """uint8 (N, C, H, W), by the split in the file."""
        return {split: self._bytes_of(split) for split in self._file.prefixes}

    def _bytes_of(self, split: str) -> Tensor:
        array, layout = self._file.images(split), self._file.layout(split)
        name = f"{self.path}: {self._file.prefixes[split]}images"
        images = torch.empty(len(array), *self._file.image_shape, dtype=torch.uint8)
        block = images_at_once(self._file.image_shape, most=10_000)
        lowest, highest = np.inf, -np.inf
        for start in range(0, len(array), block):
            part = array[start : start + block]
            low, high = float(part.min()), float(part.max())
            if not (part.dtype == np.uint8 or (low >= 0 and high <= 1)):
                raise DataError(
                    f"{name} holds {_range(low, high)}: floats must be in [0, 1]; divide bytes by "
                    "255, or save them as uint8"
                )
            lowest, highest = min(lowest, low), max(highest, high)
            scaled = part if part.dtype == np.uint8 else np.round(part * part.dtype.type(255))
            pixels = torch.from_numpy(scaled.astype(np.uint8))
            images[start : start + block] = _channels_first(pixels, layout)
        if array.dtype == np.uint8 and (lowest, highest) == (0, 1):
            raise DataError(f"{name} holds bytes of 0 and 1 only: white is 255; multiply by 255")
        return images

    def _count(self, split: Split) -> int:
        if split not in self._splits:
            return 0
        name, chosen = self._splits[split]
        return self._file.count(name) if chosen is None else len(chosen)


def _range(low: float, high: float) -> str:
    return "NaN" if low != low else f"values from {low:.4g} to {high:.4g}"


def _channels_first(pixels: Tensor, layout: Layout) -> Tensor:
    if layout == "N, H, W":
        return pixels.unsqueeze(1)
    return pixels.movedim(-1, 1) if layout == "N, H, W, C" else pixels
