"""Waypoints of an interpolation: the latents of images, or of classes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.cli.workspace import Workspace
from vae_lightning.errors import ConfigError
from vae_lightning.generation.batches import check_classes, in_batches
from vae_lightning.generation.inputs import ImageFiles, Split, SplitImages, check_not_empty
from vae_lightning.generation.mode import DataFactory
from vae_lightning.models import Model


@dataclass(frozen=True)
class Waypoints:
    """Points in the latent space, in the order in which an interpolation passes through them.

    Attributes:
        latents: (N, D), in the form of `Model.latent_means`.
        labels: int64 (N,), for a conditional model.
        names: of the waypoints.
        images: (N, C, H, W), the images that the latents were inferred from, if any.
        notes: where the waypoints come from, for a reader of the results.
    """

    latents: Tensor
    labels: Tensor | None
    names: Sequence[str]
    images: Tensor | None = None
    notes: Sequence[str] = field(default_factory=list)


class WaypointSource(ABC):
    """Finds the waypoints of an interpolation."""

    @abstractmethod
    def check(self, model: Model, data: DataFactory) -> None:
        """Refuse what does not fit the model or the data; see `Mode.check`.

        Raises:
            ValueError: one line that says what would work.
            DataError: the same, about files.
        """

    @abstractmethod
    def waypoints(self, workspace: Workspace) -> Waypoints:
        """Find the waypoints."""


class ImageWaypoints(WaypointSource):
    """The latents of two or more images.

    Args:
        source: of the images.
    """

    def __init__(self, source: SplitImages | ImageFiles) -> None:
        self.source = source

    def check(self, model: Model, data: DataFactory) -> None:
        _check_source(self.source, model, data)
        if isinstance(self.source, ImageFiles) and self.source.count(model) < 2:
            raise ValueError("input has one image: an interpolation needs two or more")

    def waypoints(self, workspace: Workspace) -> Waypoints:
        selected = self.source.select(workspace)
        labels = selected.labels_for(workspace.model)
        latents = workspace.model.latent_means(selected.images, labels)
        return Waypoints(latents, labels, selected.names, selected.images, selected.notes)


class LabelWaypoints(WaypointSource):
    """The classes of a conditional model, with one z: that of an image, or a draw of the prior.

    Args:
        classes: of the waypoints.
        source: of the image; None draws z.
    """

    def __init__(self, classes: Sequence[int], source: SplitImages | ImageFiles | None) -> None:
        self.classes = classes
        self.source = source

    def check(self, model: Model, data: DataFactory) -> None:
        check_classes(model, torch.tensor(self.classes))
        if self.source is not None:
            _check_source(self.source, model, data)

    def waypoints(self, workspace: Workspace) -> Waypoints:
        if self.source is None:
            latents, notes = workspace.model.sample_latents(1), ["z is one draw of the prior"]
        else:
            selected = self.source.select(workspace)
            latents = workspace.model.latent_means(selected.images, selected.labels)
            notes = [*selected.notes, f"z is that of {selected.names[0]}"]
        return Waypoints(
            latents.expand(len(self.classes), -1),
            torch.tensor(self.classes, device=workspace.device),
            _class_names(workspace, self.classes),
            notes=notes,
        )


class ClassMeanWaypoints(WaypointSource):
    """The mean latents of classes, for a model that is not conditional.

    Args:
        classes: of the waypoints.
        split: of the images whose latents are averaged.
    """

    def __init__(self, classes: Sequence[int], split: Split) -> None:
        self.classes = classes
        self.split: Split = split

    def check(self, model: Model, data: DataFactory) -> None:
        module = data()
        known = len(module.class_names)
        for label in self.classes:
            if not 0 <= label < known:
                exist = f"they are 0 to {known - 1}" if known else "this data has none"
                raise ValueError(
                    f"classes={list(self.classes)}: class {label} does not exist: {exist}"
                )
            if label in module.protocol.held_out:
                raise ValueError(
                    f"classes={list(self.classes)}: class {label} is held out, so the "
                    f"{self.split} split has no images of it"
                )
        check_not_empty(module, self.split)

    def waypoints(self, workspace: Workspace) -> Waypoints:
        images, labels = workspace.images(self.split)
        means, counts = [], []
        for label in self.classes:
            of_class = images[labels.cpu() == label]
            if len(of_class) == 0:
                raise ConfigError(
                    f"mode.classes={list(self.classes)}: the {self.split} split has no images of "
                    f"class {label}"
                )
            latents = in_batches(
                lambda batch, _: workspace.model.infer_means(workspace.to_model(batch)), of_class
            )
            means.append(latents.mean(0))
            counts.append(len(of_class))
        centres = torch.stack(means)
        if workspace.model.latent_space == "sphere":
            centres = F.normalize(centres, dim=-1)
        names = _class_names(workspace, self.classes)
        averaged = ", ".join(f"{n:,} of {name}" for n, name in zip(counts, names, strict=True))
        note = f"waypoints are means of the latents of {self.split} images: {averaged}"
        return Waypoints(centres, None, names, notes=[note])


def _check_source(source: SplitImages | ImageFiles, model: Model, data: DataFactory) -> None:
    if isinstance(source, ImageFiles):
        source.load(model)
    else:
        source.check(data())


def _class_names(workspace: Workspace, classes: Sequence[int]) -> list[str]:
    """The names of classes in the data; `class 3` for a mere number."""
    known = workspace.datamodule.class_names
    names = [known[label] if label < len(known) else str(label) for label in classes]
    return [f"class {name}" if name.isdigit() else name for name in names]
