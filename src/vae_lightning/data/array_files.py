"""Files of arrays of images: their shapes, layouts and classes. Imports torch for `.pt` only."""

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from vae_lightning.data.stored_arrays import BROKEN, Array, StoredArray, stored_arrays
from vae_lightning.errors import DataError
from vae_lightning.utils.image_size import as_written

Layout = Literal["N, H, W", "N, C, H, W", "N, H, W, C"]

SPLITS = ("train", "val", "test")
# Channels of images that are taken for channels whatever the other dimensions are, and at most for
# images that are not square.
_FEW, _MANY = 4, 16
_WANTED = "`images` nor `train_images`"


class ArrayFile:
    """A file of images and, if there are any, their labels.

    A `.npz`, or a `.pt` with tensors by name, holds `images` and `labels`; if the splits are given,
    `train_images`, `train_labels`, and the same of `val` and `test`. A `.npy`, or a `.pt` with one
    tensor, holds images.

    Args:
        path: the file. Its headers are read at once, and its labels when they are needed.

    Attributes:
        path: as given.
        prefixes: the start of the names of each split's arrays: `{"": ""}` without splits, or
            `{"train": "train_", ...}`.
        image_shape: (C, H, W).

    Raises:
        DataError: it is no such file, an array is missing, or a shape or type does not fit.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrays = stored_arrays(path)
        given = [split for split in SPLITS if f"{split}_images" in self._arrays]
        if "images" in self._arrays and given:
            raise DataError(f"{path} holds both images and {given[0]}_images: keep one of them")
        if "images" not in self._arrays and "train" not in given:
            names = ", ".join(self._arrays) or "none"
            raise DataError(f"{path} holds neither {_WANTED}: its arrays are {names}")
        self.prefixes = {split: f"{split}_" for split in given} or {"": ""}
        shapes = {self._image_shape(split) for split in self.prefixes}
        if len(shapes) > 1:
            found = " and ".join(map(str, sorted(shapes)))
            raise DataError(f"{path} holds images of different shapes (C, H, W): {found}")
        (self.image_shape,) = shapes
        self._check_labels()

    def count(self, split: str) -> int:
        """The number of images of a split."""
        return self._stored(split, "images").shape[0]

    def layout(self, split: str) -> Layout:
        """The meaning of the dimensions of a split's images."""
        shape = self._stored(split, "images").shape
        if len(shape) == 3:
            return "N, H, W"
        return "N, C, H, W" if _channels_are_first(shape) else "N, H, W, C"

    def images(self, split: str) -> Array:
        """The images of a split as they are in the file.

        Raises:
            DataError: they cannot be read.
        """
        return self._read(split, "images")

    def labels(self, split: str) -> Array:
        """The classes of a split's images as indices of `class_names`, int64 (N,).

        Raises:
            DataError: they cannot be read.
        """
        if not self.class_names:
            return np.zeros(self.count(split), np.int64)
        return np.searchsorted(self._class_values, self._values(split)).astype(np.int64)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels that occur, sorted; empty if there are no labels, or if they are all equal."""
        values = self._class_values
        return tuple(map(str, values.tolist())) if len(values) > 1 else ()

    @cached_property
    def _class_values(self) -> Array:
        if not self._has_labels:
            return np.empty(0)
        found = {split: np.unique(self._values(split)) for split in self.prefixes}
        if "train" in found:
            for split, values in found.items():
                if len(unknown := np.setdiff1d(values, found["train"])):
                    raise DataError(
                        f"{self.path} holds class {unknown[0]} in {split}_labels, of which "
                        "train_labels has none"
                    )
        return np.unique(np.concatenate(list(found.values())))

    @property
    def _has_labels(self) -> bool:
        return any(f"{start}labels" in self._arrays for start in self.prefixes.values())

    def _values(self, split: str) -> Array:
        return self._read(split, "labels").reshape(-1)

    def _stored(self, split: str, what: str) -> StoredArray:
        return self._arrays[f"{self.prefixes[split]}{what}"]

    def _read(self, split: str, what: str) -> Array:
        try:
            return self._stored(split, what).read()
        except BROKEN as error:
            raise DataError(f"{self.path} is damaged or cut short: {error}") from error

    def _image_shape(self, split: str) -> tuple[int, int, int]:
        name = f"{self.prefixes[split]}images"
        shape, dtype, _ = self._arrays[name]
        start = f"{self.path}: {name} of {dtype} and shape {shape}"
        if dtype not in ("uint8", "float16", "float32", "float64"):
            raise DataError(f"{start}: give uint8 from 0 to 255, or floats in [0, 1]")
        if len(shape) not in (3, 4) or math.prod(shape) == 0:
            raise DataError(f"{start}: it must be (N, H, W), (N, C, H, W) or (N, H, W, C)")
        if shape[0] == 1:
            raise DataError(f"{start} is one image: training and validation need several")
        if len(shape) == 3:
            return (1, *shape[1:])
        first = _channels_are_first(shape)
        if first is None:
            raise DataError(f"{start} may be (N, C, H, W) or (N, H, W, C): channels must be fewer")
        return (shape[1], shape[2], shape[3]) if first else (shape[3], shape[1], shape[2])

    def _check_labels(self) -> None:
        if not self._has_labels:
            return
        for split, start in self.prefixes.items():
            if (stored := self._arrays.get(f"{start}labels")) is None:
                raise DataError(f"{self.path} has labels, and no {start}labels")
            count = self.count(split)
            if stored.shape not in ((count,), (count, 1)):
                raise DataError(
                    f"{self.path}: {start}labels of shape {stored.shape} for {count} images: "
                    f"they must be ({count},)"
                )
            if not stored.dtype.startswith(("int", "uint", "bool", "<U", "str")):
                raise DataError(
                    f"{self.path}: {start}labels of {stored.dtype}: give whole numbers or text"
                )


def _channels_are_first(shape: Sequence[int]) -> bool | None:
    """Whether the channels of four dimensions are the second or the last; None if it may be both.

    Few channels tell, and so do images that are square in one of the two layouts only.
    """
    _, second, third, last = shape
    fewer = min(second, last)
    if second == last:
        return None
    if fewer > _FEW and (third == last) != (second == third):
        return third == last
    return second < last if fewer <= _MANY else None


def facts(path: str | None, name: Literal["size", "channels", "num_classes"]) -> int | list[int]:
    """What a configuration takes from a file: the size of its images, the channels, or the classes.

    Of a file that cannot be read, it is the least possible value: `ArrayFile` raises the error.
    """
    try:
        if path is None:
            raise DataError("no file")
        file = ArrayFile(Path(path).expanduser())
        channels, height, width = file.image_shape
        return {
            "size": as_written(height, width),
            "channels": channels,
            "num_classes": len(file.class_names),
        }[name]
    except DataError:
        return 0 if name == "num_classes" else 1
