"""Ways through the latent space: between images, or between classes."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from vae_lightning.cli.workspace import Workspace
from vae_lightning.distributions.spaces import PATHS, Interpolation
from vae_lightning.drawing.labelled_grid import film, labelled_grid
from vae_lightning.generation.inputs import Files, Places, Split
from vae_lightning.generation.mode import MakeData, Mode, ModeResult
from vae_lightning.generation.waypoints import (
    BetweenClassMeans,
    BetweenImages,
    ChangingLabel,
    Stops,
    Way,
)
from vae_lightning.models import Model
from vae_lightning.utils.checks import at_least, positive

# Of a split, where nobody chose any.
_COUNT = 5
# How long the film rests where a way ends, and how long it shows each image on it; milliseconds.
_REST, _FRAME = 500, 40


class Interpolate(Mode):
    """The way from one image to the next, as rows of images and as a film that goes round.

    With `classes`, a conditional model keeps z and changes the label: z is drawn from the prior, or
    inferred from the one image that is chosen. Other models go between the means of the classes'
    latents.

    Args:
        images: places in the split, of two images or more; with `classes`, of one. Where nothing is
            chosen at all, the first five.
        input: instead: an image file, a folder of them, an `.npz`, or a list of these.
        fit: scale images of `input` that have another size.
        classes: to go between; of several images of `input`, for a conditional model, their own.
        split: `train`, `val` or `test`.
        steps: images in a row, both ends included.
        path: `linear` or `spherical`; None takes the one that stays in the latent space.
        seconds: that the film takes from one to the next.
    """

    def __init__(
        self,
        images: Sequence[int] | None,
        input: str | Sequence[str] | None,
        fit: bool,
        classes: Sequence[int] | None,
        split: Split,
        steps: int,
        path: Interpolation | None,
        seconds: float,
    ) -> None:
        at_least("steps", steps, 2)
        positive("seconds", seconds)
        if images is not None and input is not None:
            raise ValueError(f"images={list(images)} and mode.input are two choices: make one")
        if images is not None and classes is None and len(images) < 2:
            raise ValueError(f"images={list(images)} leads nowhere: name two places or more")
        if images is not None and classes is not None and len(images) != 1:
            raise ValueError(
                f"images={list(images)} with mode.classes: name one image, whose class is changed"
            )
        if classes is not None and input is None and len(classes) < 2:
            raise ValueError(f"classes={list(classes)} leads nowhere: name two classes or more")
        self.images = images
        self.input = input
        self.fit = fit
        self.classes = classes
        self.split: Split = split
        self.steps = steps
        self.path: Interpolation | None = path
        self.seconds = seconds

    def check(self, model: Model, data: MakeData) -> None:
        allowed = PATHS[model.latent_space]
        if self.path is not None and self.path not in allowed:
            raise ValueError(
                f"path={self.path} leaves the {model.latent_space} of the latents: "
                f"choose mode.path={allowed[0]}"
            )
        self._way(model).check(model, data)

    def make(self, workspace: Workspace) -> ModeResult:
        stops = self._way(workspace.model).stops(workspace)
        count = len(stops.latents)
        shares = torch.linspace(0, 1, self.steps)
        picture = workspace.folder / "interpolation.png"
        rows = self._decoded(workspace.model, stops, list(range(count)), shares)
        _draw(rows, shares, stops, picture)

        # The film goes back to where it began. It starts and stops gently.
        frames = max(2, round(1000 * self.seconds / _FRAME))
        eased = (1 - torch.cos(torch.arange(frames) * (math.pi / frames))) / 2
        moving = self._decoded(workspace.model, stops, [*range(count), 0], eased)
        durations = [_REST, *[_FRAME] * (frames - 1)] * count
        moved = workspace.folder / "interpolation.gif"
        film(moving.flatten(0, 1), moved, durations)

        path = self.path or PATHS[workspace.model.latent_space][0]
        return ModeResult(
            [picture, moved],
            {"between": list(stops.names), "path": path, "steps": self.steps},
            [
                ("from", stops.names[0], ""),
                *(("to", name, "") for name in stops.names[1:]),
                ("path", path, ""),
                ("film", f"{sum(durations) / 1000:.1f}", "seconds"),
            ],
            stops.notes,
        )

    def _way(self, model: Model) -> Way:
        """What the keys ask for together, of a model that knows classes or does not."""
        places = None
        if self.images is not None:
            places = Places(f"images={list(self.images)}", self.images, self.split)
        if self.input is not None:
            files = Files(self.input, self.fit, self.classes)
            # The class of a single image is the first to be visited.
            if self.classes is None or model.num_classes is None or files.count(model) > 1:
                return BetweenImages(files)
            if len(self.classes) < 2:
                raise ValueError(f"classes={list(self.classes)} and one image lead nowhere")
            return ChangingLabel(self.classes, Files(self.input, self.fit, self.classes[:1]))
        if self.classes is None:
            first = Places(f"split={self.split}", range(_COUNT), self.split)
            return BetweenImages(places or first)
        if model.num_classes is not None:
            return ChangingLabel(self.classes, places)
        if places is not None:
            raise ValueError(
                f"classes={list(self.classes)}: this model knows no classes, so that those of an "
                "image cannot be changed: leave out mode.images or mode.classes"
            )
        return BetweenClassMeans(self.classes, self.split)

    def _decoded(self, model: Model, stops: Stops, order: Sequence[int], shares: Tensor) -> Tensor:
        """Images on the way from each stop to the next, (len(order) - 1, T, C, H, W)."""
        a, b = list(order[:-1]), list(order[1:])
        labels = stops.labels
        return model.images_between(
            stops.latents[a],
            stops.latents[b],
            shares.to(stops.latents),
            path=self.path,
            labels_a=None if labels is None else labels[a],
            labels_b=None if labels is None else labels[b],
        )


def _draw(rows: Tensor, shares: Tensor, stops: Stops, file: Path) -> None:
    """A row for each way, between the images that its ends were inferred from."""
    short = [_short(name) for name in stops.names]
    names = [f"{a} to {b}" for a, b in pairwise(short)]
    heads = [f"{share:.2f}" for share in shares.tolist()]
    blocks = list(rows)
    title = "share of the way"
    if stops.images is not None:
        images = stops.images.to(rows)
        blocks = [
            torch.cat([images[place, None], row, images[place + 1, None]])
            for place, row in enumerate(rows)
        ]
        heads = ["image", *heads, "image"]
        title = "images, and reconstructions by their share of the way"
    labelled_grid(blocks, len(heads), title=title, names=names, heads=heads).save(file)


def _short(name: str, length: int = 20) -> str:
    name = Path(name).name
    return name if len(name) <= length else f"{name[: length - 3]}..."
