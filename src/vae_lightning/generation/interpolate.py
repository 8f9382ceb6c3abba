"""Interpolations in the latent space, between images or between classes."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from vae_lightning.cli.workspace import Workspace
from vae_lightning.distributions.spaces import PATHS, Interpolation
from vae_lightning.drawing.gif import write_gif
from vae_lightning.drawing.labelled_grid import labelled_grid
from vae_lightning.generation.inputs import ImageFiles, Split, SplitImages
from vae_lightning.generation.mode import DataFactory, Mode, ModeResult
from vae_lightning.generation.waypoints import (
    ClassMeanWaypoints,
    ImageWaypoints,
    LabelWaypoints,
    Waypoints,
    WaypointSource,
)
from vae_lightning.models import Model
from vae_lightning.utils.checks import at_least, positive

# Images of a split, if none are chosen.
_COUNT = 5
# How long the GIF shows a waypoint, and an image between two; milliseconds.
_WAYPOINT_TIME, _FRAME_TIME = 500, 40


class InterpolateMode(Mode):
    r"""Interpolate between images, as rows of images and as a GIF that loops.

    With `classes`, a conditional model keeps z and changes the label: z is drawn from the prior, or
    inferred from the one image that is chosen. Other models interpolate between the mean latents of
    the classes.

    .. math:: z(t) = (1 - t) a + t b, \quad 0 \le t \le 1

    or the spherical path of `distributions.spaces.between`.

    Args:
        images: indices in the split, of two images or more; with `classes`, of one. If nothing is
            chosen at all, the first five.
        input: instead: an image file, a folder of them, an `.npz`, or a list of these.
        fit: scale images of `input` that have another size.
        classes: to interpolate between; with several images of `input` and a conditional model,
            the classes of these images.
        split: `train`, `val` or `test`.
        steps: images in a row, both ends included.
        path: `linear` or `spherical`; None takes the one that stays in the latent space.
        seconds: of the GIF from one waypoint to the next.

    Raises:
        ValueError: a value out of range, or options that do not fit together.
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
            raise ValueError(f"images={list(images)} and mode.input exclude each other: choose one")
        if images is not None and classes is None and len(images) < 2:
            raise ValueError(f"images={list(images)}: name the indices of two images or more")
        if images is not None and classes is not None and len(images) != 1:
            raise ValueError(
                f"images={list(images)} with mode.classes: name one image, whose class is changed"
            )
        if classes is not None and input is None and len(classes) < 2:
            raise ValueError(f"classes={list(classes)}: name two classes or more")
        self.images = images
        self.files = None if input is None else ImageFiles(input, fit, classes)
        self.classes = classes
        self.split: Split = split
        self.steps = steps
        self.path: Interpolation | None = path
        self.seconds = seconds

    def check(self, model: Model, data: DataFactory) -> None:
        allowed = PATHS[model.latent_space]
        if self.path is not None and self.path not in allowed:
            raise ValueError(
                f"path={self.path} leaves the {model.latent_space} of the latents: "
                f"choose mode.path={allowed[0]}"
            )
        self._source(model).check(model, data)

    def make(self, workspace: Workspace) -> ModeResult:
        model = workspace.model
        waypoints = self._source(model).waypoints(workspace)
        count = len(waypoints.latents)
        t = torch.linspace(0, 1, self.steps)
        picture = workspace.folder / "interpolation.png"
        _draw(self._interpolated(model, waypoints, range(count), t), t, waypoints, picture)

        # The GIF returns to the first waypoint. It accelerates and slows down smoothly.
        num_frames = max(2, round(1000 * self.seconds / _FRAME_TIME))
        eased = (1 - torch.cos(torch.arange(num_frames) * (math.pi / num_frames))) / 2
        frames = self._interpolated(model, waypoints, [*range(count), 0], eased)
        durations = [_WAYPOINT_TIME, *[_FRAME_TIME] * (num_frames - 1)] * count
        animation = workspace.folder / "interpolation.gif"
        write_gif(frames.flatten(0, 1), animation, durations)

        path = self.path or PATHS[model.latent_space][0]
        return ModeResult(
            [picture, animation],
            {"between": list(waypoints.names), "path": path, "steps": self.steps},
            [
                ("from", waypoints.names[0], ""),
                *(("to", name, "") for name in waypoints.names[1:]),
                ("path", path, ""),
                ("GIF", f"{sum(durations) / 1000:.1f}", "seconds"),
            ],
            waypoints.notes,
        )

    def _source(self, model: Model) -> WaypointSource:
        """The source that the options describe together, given whether the model is conditional."""
        if self.files is not None:
            # With a single image, the classes are waypoints and the first one is its own.
            one = self.classes is not None and self.files.count(model) == 1
            if self.classes is None or model.num_classes is None or not one:
                return ImageWaypoints(self.files)
            if len(self.classes) < 2:
                raise ValueError(
                    f"classes={list(self.classes)} with one image: name two classes or more"
                )
            return LabelWaypoints(self.classes, self.files.with_classes(self.classes[:1]))
        selected = None
        if self.images is not None:
            selected = SplitImages(f"images={list(self.images)}", self.images, self.split)
        if self.classes is None:
            first = SplitImages(f"split={self.split}", range(_COUNT), self.split)
            return ImageWaypoints(selected or first)
        if model.num_classes is not None:
            return LabelWaypoints(self.classes, selected)
        if selected is not None:
            raise ValueError(
                f"classes={list(self.classes)}: this model is not conditional, so the class of an "
                "image cannot be changed: leave out mode.images or mode.classes"
            )
        return ClassMeanWaypoints(self.classes, self.split)

    def _interpolated(
        self, model: Model, waypoints: Waypoints, order: Sequence[int], t: Tensor
    ) -> Tensor:
        """Images from each waypoint to the next in `order`, (len(order) - 1, T, C, H, W)."""
        a, b = list(order[:-1]), list(order[1:])
        labels = waypoints.labels
        return model.images_between(
            waypoints.latents[a],
            waypoints.latents[b],
            t.to(waypoints.latents),
            path=self.path,
            labels_a=None if labels is None else labels[a],
            labels_b=None if labels is None else labels[b],
        )


def _draw(rows: Tensor, t: Tensor, waypoints: Waypoints, file: Path) -> None:
    """A row for each pair of waypoints, between the images that they were inferred from, if any."""
    short = [_short(name) for name in waypoints.names]
    group_titles = [f"{a} to {b}" for a, b in pairwise(short)]
    column_titles = [f"{value:.2f}" for value in t.tolist()]
    groups = list(rows)
    title = "decoded at t, from 0 to 1"
    if waypoints.images is not None:
        images = waypoints.images.to(rows)
        groups = [
            torch.cat([images[index, None], row, images[index + 1, None]])
            for index, row in enumerate(rows)
        ]
        column_titles = ["image", *column_titles, "image"]
        title = "images, and latents decoded at t, from 0 to 1"
    labelled_grid(
        groups,
        len(column_titles),
        title=title,
        group_titles=group_titles,
        column_titles=column_titles,
    ).save(file)


def _short(name: str, length: int = 20) -> str:
    name = Path(name).name
    return name if len(name) <= length else f"{name[: length - 3]}..."
