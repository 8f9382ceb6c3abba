"""The images that a mode starts from: images of a split, or image files."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vae_lightning.cli.workspace import Workspace
from vae_lightning.data import ImageDataModule
from vae_lightning.data.image_files import NamedImages, read_inputs
from vae_lightning.errors import ConfigError
from vae_lightning.generation.batches import check_classes, labels_for
from vae_lightning.models import Model

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class SelectedImages:
    """Images that were selected, as evaluation takes them.

    Attributes:
        images: (N, C, H, W) in [0, 1], on the workspace's device.
        names: of the images: their file, or split and index.
        labels: int64 (N,), their classes; None if they are unknown.
        notes: how the images were preprocessed, for a reader of the results.
    """

    images: Tensor
    names: Sequence[str]
    labels: Tensor | None
    notes: Sequence[str] = field(default_factory=list)

    def __getitem__(self, part: slice) -> "SelectedImages":
        labels = None if self.labels is None else self.labels[part]
        return SelectedImages(self.images[part], self.names[part], labels, self.notes)

    def labels_for(self, model: Model) -> Tensor | None:
        """The labels if the model is conditional, otherwise None."""
        return labels_for(model, self.labels)


@dataclass(frozen=True)
class SplitImages:
    """Images of a split, by their indices from 0.

    Args:
        key: the configuration key and value that selected them, for messages.
        indices: of the images.
        split: `train`, `val` or `test`.
    """

    key: str
    indices: Sequence[int]
    split: Split

    def check(self, data: ImageDataModule) -> None:
        """Check that the split has these indices.

        Raises:
            ValueError: the split is empty, or an index is out of range.
        """
        check_not_empty(data, self.split)
        count = data.num_images[self.split]
        if any(not 0 <= index < count for index in self.indices):
            raise ValueError(
                f"{self.key} is out of range: the {self.split} split has {count:,} images, with "
                f"indices 0 to {count - 1}"
            )

    def select(self, workspace: Workspace) -> SelectedImages:
        """Read the images.

        Raises:
            ConfigError: an index is out of range.
            DataError: the data cannot be read.
        """
        # With classes held out, the number of images is known only after reading.
        check_again(self.check, workspace.data)
        images, labels = workspace.images(self.split)
        indices = torch.tensor(self.indices)
        return SelectedImages(
            workspace.to_model(images[indices]),
            [f"{self.split} {index}" for index in self.indices],
            labels[indices].to(workspace.device),
            binarization_notes(workspace),
        )


class ImageFiles:
    """Image files; they are read once.

    Args:
        paths: an image file, a folder of them, an `.npz`, or several of these.
        fit: scale images of other sizes.
        classes: of the images, one for each or one for all; None if the model is not conditional,
            or if the `.npz` has labels.

    Raises:
        ValueError: no path.
    """

    def __init__(
        self, paths: str | Sequence[str], fit: bool, classes: Sequence[int] | None
    ) -> None:
        self.paths = [paths] if isinstance(paths, str) else list(paths)
        self.fit = fit
        self.classes = classes
        self._parts: list[NamedImages] = []
        if not self.paths:
            raise ValueError("input=[] is empty: name an image file, a folder or an .npz")

    def with_classes(self, classes: Sequence[int]) -> "ImageFiles":
        """The same images with other classes; they are not read again."""
        other = copy(self)
        other.classes = classes
        return other

    def load(self, model: Model) -> NamedImages:
        """Read the images, and check that they fit a model.

        Returns:
            the images, with labels if the model is conditional.

        Raises:
            DataError: a file cannot be read, or has another size.
            ValueError: classes are missing, do not exist, or are not as many as the images.
        """
        parts = self._read(model)
        images = torch.cat([part.images for part in parts])
        names = [name for part in parts for name in part.names]
        return NamedImages(images, names, self._labels(model, parts))

    def count(self, model: Model) -> int:
        """The number of images.

        Raises:
            DataError: as for `load`.
        """
        return sum(len(part.images) for part in self._read(model))

    def _read(self, model: Model) -> list[NamedImages]:
        if not self._parts:  # filled in place: copies share it
            self._parts += [
                read_inputs(Path(path).expanduser(), model.image_shape, self.fit, "mode.fit")
                for path in self.paths
            ]
        return self._parts

    def _labels(self, model: Model, parts: Sequence[NamedImages]) -> Tensor | None:
        count = sum(len(part.images) for part in parts)
        if model.num_classes is None:
            if self.classes is not None:
                raise ValueError(f"classes={list(self.classes)}: this model is not conditional")
            return None
        if self.classes is not None:
            if len(self.classes) not in (1, count):
                raise ValueError(
                    f"classes={list(self.classes)} has {len(self.classes)} classes for {count} "
                    "images: give one for each, or one for all"
                )
            labels = torch.tensor(self.classes).expand(count)
        else:
            known = [part.labels for part in parts if part.labels is not None]
            if len(known) < len(parts):
                raise ValueError(
                    "classes is missing: this model is conditional, so set mode.classes to the "
                    f"classes of the images, 0 to {model.num_classes - 1}, such as "
                    "mode.classes=[3]"
                )
            labels = torch.cat(known)
        check_classes(model, labels)
        return labels

    def select(self, workspace: Workspace) -> SelectedImages:
        """The images, preprocessed as evaluation does."""
        named = self.load(workspace.model)
        images = workspace.datamodule.protocol.as_evaluated(named.images)
        labels = None if named.labels is None else named.labels.to(workspace.device)
        notes = binarization_notes(workspace)
        return SelectedImages(workspace.to_model(images), named.names, labels, notes)


def first_images(workspace: Workspace, split: Split, count: int) -> tuple[Tensor, Tensor | None]:
    """The first `count` images of a split, or all if there are fewer, and labels for the model.

    Shape:
        returns (N, C, H, W) in [0, 1], and int64 (N,) or None, on the workspace's device.
    """
    images, labels = workspace.images(split)
    selected = workspace.to_model(images[:count])
    return selected, labels_for(workspace.model, labels[:count].to(workspace.device))


def check_not_empty(data: ImageDataModule, split: Split) -> None:
    """Check that a split has images.

    Raises:
        ValueError: it has none.
    """
    if data.num_images[split] == 0:
        raise ValueError(f"split={split} is empty in this run")


def check_again(check: Callable[[ImageDataModule], None], data: ImageDataModule) -> None:
    """Repeat a check after the data has been read.

    Raises:
        ConfigError: it fails.
    """
    try:
        check(data)
    except ValueError as error:
        raise ConfigError(f"mode.{error}") from error


def binarization_notes(workspace: Workspace) -> list[str]:
    """A line that says how images were binarised, if they were."""
    binarize = workspace.datamodule.protocol.binarize
    if binarize == "none":
        return []
    how = {
        "threshold": "by a threshold of one half",
        "fixed": "by one random draw, with the grey values as probabilities",
        "dynamic": "by one random draw, with the grey values as probabilities",
    }[binarize]
    return [f"images are binarised {how}: the model was trained with data.binarize={binarize}"]
