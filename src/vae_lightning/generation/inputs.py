"""The images that a mode starts from: of a split of the data, or a user's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vae_lightning.cli.workspace import Workspace
from vae_lightning.data import ImageDataModule
from vae_lightning.data.image_files import NamedImages, read_inputs
from vae_lightning.errors import ConfigError
from vae_lightning.generation.mode import check_classes
from vae_lightning.models import Model

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Chosen:
    """Images to work with.

    Attributes:
        images: float32 (N, C, H, W) in [0, 1], as evaluation sees them, on the workspace's device.
        names: where each came from.
        labels: int64 (N,), their classes; None of files, where nobody said.
        notes: what was done to them that a reader of the results has to know.
    """

    images: Tensor
    names: Sequence[str]
    labels: Tensor | None
    notes: Sequence[str] = field(default_factory=list)

    def conditions(self, model: Model) -> Tensor | None:
        """The labels, where a model is conditional on them."""
        return None if model.num_classes is None else self.labels


@dataclass(frozen=True)
class Places:
    """Images of a split, by their places; the first is 0.

    Args:
        key: under which the user chose them, for messages.
        places: of each.
        split: `train`, `val` or `test`.
    """

    key: str
    places: Sequence[int]
    split: Split

    def check(self, data: ImageDataModule) -> None:
        """Refuse places where no image is.

        Raises:
            ValueError: there is one.
        """
        count = data.num_images[self.split]
        if count == 0:
            raise ValueError(f"split={self.split} holds no images in this run")
        for place in self.places:
            if not 0 <= place < count:
                raise ValueError(
                    f"{self.key} is out of range: the {self.split} split has {count:,} images, at "
                    f"the places 0 to {count - 1}"
                )

    def read(self, workspace: Workspace) -> Chosen:
        """The images, as evaluation sees them.

        Raises:
            ConfigError: a place is out of range.
            DataError: the data cannot be had.
        """
        # With classes held out, how many there are is known only now.
        in_range(self.check, workspace.data)
        images, labels = workspace.images(self.split)
        places = torch.tensor(self.places)
        names = [f"{self.split} {place}" for place in self.places]
        labels = labels[places].to(workspace.device)
        return Chosen(workspace.to_model(images[places]), names, labels, protocol_notes(workspace))


def first(workspace: Workspace, split: Split, count: int) -> tuple[Tensor, Tensor | None]:
    """The first `count` images of a split, or all there are, and what a model needs of labels.

    Shape:
        returns float32 (N, C, H, W) in [0, 1], and int64 (N,) or None, on the workspace's device.
    """
    images, labels = workspace.images(split)
    shown = workspace.to_model(images[:count])
    needed = workspace.model.num_classes is not None
    return shown, labels[:count].to(workspace.device) if needed else None


class Files:
    """A user's own images.

    Args:
        paths: an image file, a folder of them, an `.npz`, or several of these.
        fit: scale images of other sizes.
        classes: of the images, one for each or one for all; None where they need none, or where
            the `.npz` has labels.
    """

    def __init__(
        self, paths: str | Sequence[str], fit: bool, classes: Sequence[int] | None
    ) -> None:
        self.paths = [paths] if isinstance(paths, str) else list(paths)
        self._read: list[NamedImages] = []
        self.fit = fit
        self.classes = classes
        if not self.paths:
            raise ValueError("input=[] names no image: name a file, a folder or an .npz")

    def load(self, model: Model) -> NamedImages:
        """Read them, and refuse what a model cannot take.

        Returns:
            with labels where a conditional model needs them, and without for others.

        Raises:
            DataError: a file that cannot be read, or of another size.
            ValueError: classes that are missing, do not exist, or are not as many as the images.
        """
        parts = self._parts(model)
        images = torch.cat([part.images for part in parts])
        names = [name for part in parts for name in part.names]
        return NamedImages(images, names, self._labels(model, parts))

    def count(self, model: Model) -> int:
        """How many there are.

        Raises:
            DataError: as for `load`.
        """
        return sum(len(part.images) for part in self._parts(model))

    def _parts(self, model: Model) -> list[NamedImages]:
        if not self._read:
            self._read = [
                read_inputs(Path(path).expanduser(), model.image_shape, self.fit, "mode.fit")
                for path in self.paths
            ]
        return self._read

    def _labels(self, model: Model, parts: Sequence[NamedImages]) -> Tensor | None:
        count = sum(len(part.images) for part in parts)
        if model.num_classes is None:
            if self.classes is not None:
                raise ValueError(f"classes={list(self.classes)}: this model knows no classes")
            return None
        if self.classes is not None:
            if len(self.classes) not in (1, count):
                raise ValueError(
                    f"classes={list(self.classes)} are {len(self.classes)} for {count} images: "
                    "name one for each, or one for all"
                )
            labels = torch.tensor(self.classes).expand(count)
        else:
            known = [part.labels for part in parts if part.labels is not None]
            if len(known) < len(parts):
                raise ValueError(
                    "classes is missing: this model has to be told what the images of input show, "
                    f"such as mode.classes=[3], with classes 0 to {model.num_classes - 1}"
                )
            labels = torch.cat(known)
        check_classes(model, labels)
        return labels

    def read(self, workspace: Workspace) -> Chosen:
        """The images, as evaluation would see them."""
        own = self.load(workspace.model)
        images = workspace.to_model(workspace.datamodule.protocol.as_evaluated(own.images))
        labels = None if own.labels is None else own.labels.to(workspace.device)
        return Chosen(images, own.names, labels, protocol_notes(workspace))


def in_range(check: Callable[[ImageDataModule], None], data: ImageDataModule) -> None:
    """Check once more, with the data read.

    Raises:
        ConfigError: what a command would have shown, had it been known before.
    """
    try:
        check(data)
    except ValueError as error:
        raise ConfigError(f"mode.{error}") from error


def check_label(model: Model, label: int | None) -> None:
    """Refuse a label where there are no classes, and none where there are.

    Raises:
        ValueError: the message begins with the key, `label`.
    """
    if label is not None:
        try:
            model.check_labels(torch.tensor([label]))
        except ValueError as error:
            raise ValueError(f"label={label}: {error}") from error
    elif model.num_classes is not None:
        raise ValueError(
            "label is missing: this model is conditional on a class, so set mode.label to one of "
            f"0 to {model.num_classes - 1}"
        )


def protocol_notes(workspace: Workspace) -> list[str]:
    """What was done to images, where it is not nothing."""
    how = {
        "none": "",
        "threshold": "cut to black and white at one half",
        "fixed": "drawn black or white, once, with the grey values as probabilities",
        "dynamic": "drawn black or white, once, with the grey values as probabilities",
    }[workspace.datamodule.protocol.binarize]
    binarize = workspace.datamodule.protocol.binarize
    return [f"images are {how}, as data.binarize={binarize} of training says"] if how else []
