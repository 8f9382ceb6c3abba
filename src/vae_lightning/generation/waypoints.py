"""What a way through the latent space goes between: images, or classes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.cli.workspace import Workspace
from vae_lightning.errors import ConfigError
from vae_lightning.generation.inputs import Files, Places, Split
from vae_lightning.generation.mode import MakeData, check_classes
from vae_lightning.models import Model

# Encoded at once.
_BATCH = 500


@dataclass(frozen=True)
class Stops:
    """Points in the latent space, in the order in which they are visited.

    Attributes:
        latents: (N, D), in the form of `Model.latent_means`.
        labels: int64 (N,), for a conditional model.
        names: of each.
        images: what each was inferred from, (N, C, H, W); None where nothing was.
        notes: what a reader has to know of them.
    """

    latents: Tensor
    labels: Tensor | None
    names: Sequence[str]
    images: Tensor | None = None
    notes: Sequence[str] = field(default_factory=list)


class Way(ABC):
    """Knows the stops of a model."""

    @abstractmethod
    def check(self, model: Model, data: MakeData) -> None:
        """Refuse what a model cannot do or the data has not; see `Mode.check`.

        Raises:
            ValueError: one line that says what would do.
            DataError: the same, of files.
        """

    @abstractmethod
    def stops(self, workspace: Workspace) -> Stops:
        """Find them."""


class BetweenImages(Way):
    """From the latents of one image to those of the next.

    Args:
        source: of the images.
    """

    def __init__(self, source: Places | Files) -> None:
        self.source = source

    def check(self, model: Model, data: MakeData) -> None:
        if isinstance(self.source, Files) and len(self.source.load(model).images) < 2:
            raise ValueError("input has one image, which leads nowhere: name two or more")
        if isinstance(self.source, Places):
            self.source.check(data())

    def stops(self, workspace: Workspace) -> Stops:
        chosen = self.source.read(workspace)
        labels = chosen.conditions(workspace.model)
        latents = workspace.model.latent_means(chosen.images, labels)
        return Stops(latents, labels, chosen.names, chosen.images, chosen.notes)


class ChangingLabel(Way):
    """From class to class of a conditional model, with one z: of an image, or of the prior.

    Args:
        classes: to visit.
        source: of the image; None draws z.
    """

    def __init__(self, classes: Sequence[int], source: Places | Files | None) -> None:
        self.classes = classes
        self.source = source

    def check(self, model: Model, data: MakeData) -> None:
        check_classes(model, torch.tensor(self.classes))
        if isinstance(self.source, Files):
            self.source.load(model)
        if isinstance(self.source, Places):
            self.source.check(data())

    def stops(self, workspace: Workspace) -> Stops:
        if self.source is None:
            latents, notes = workspace.model.sample_latents(1), ["z is one draw of the prior"]
        else:
            chosen = self.source.read(workspace)
            latents = workspace.model.latent_means(chosen.images, chosen.labels)
            notes = [*chosen.notes, f"z is that of {chosen.names[0]}"]
        return Stops(
            latents.expand(len(self.classes), -1),
            torch.tensor(self.classes, device=workspace.device),
            _class_names(workspace, self.classes),
            notes=notes,
        )


class BetweenClassMeans(Way):
    """From the mean of one class's latents to that of the next, of a model without labels.

    Args:
        classes: to visit.
        split: of the images whose latents are averaged.
    """

    def __init__(self, classes: Sequence[int], split: Split) -> None:
        self.classes = classes
        self.split: Split = split

    def check(self, model: Model, data: MakeData) -> None:
        module = data()
        known = len(module.class_names)
        for number in self.classes:
            if not 0 <= number < known:
                exist = f"they are 0 to {known - 1}" if known else "this data has none"
                raise ValueError(
                    f"classes={list(self.classes)}: class {number} does not exist: {exist}"
                )
            if number in module.protocol.held_out:
                raise ValueError(
                    f"classes={list(self.classes)}: class {number} is held out, so that the "
                    f"{self.split} split has no images of it"
                )
        Places(f"split={self.split}", [0], self.split).check(module)

    def stops(self, workspace: Workspace) -> Stops:
        images, labels = workspace.images(self.split)
        means, counts = [], []
        for number in self.classes:
            own = images[labels.cpu() == number]
            if len(own) == 0:
                raise ConfigError(
                    f"mode.classes={list(self.classes)}: the {self.split} split has no images of "
                    f"class {number}"
                )
            parts = own.split(_BATCH)
            latents = torch.cat(
                [workspace.model.latent_means(workspace.to_model(part)) for part in parts]
            )
            means.append(latents.mean(0))
            counts.append(len(own))
        centres = torch.stack(means)
        if workspace.model.latent_space == "sphere":
            centres = F.normalize(centres, dim=-1)
        names = _class_names(workspace, self.classes)
        averaged = ", ".join(f"{n:,} of {name}" for n, name in zip(counts, names, strict=True))
        note = f"ends are means of the latents of {self.split} images: {averaged}"
        return Stops(centres, None, names, notes=[note])


def _class_names(workspace: Workspace, classes: Sequence[int]) -> list[str]:
    """What the data calls them; a mere number is said to be a class."""
    known = workspace.datamodule.class_names
    names = [known[number] if number < len(known) else str(number) for number in classes]
    return [f"class {name}" if name.isdigit() else name for name in names]
