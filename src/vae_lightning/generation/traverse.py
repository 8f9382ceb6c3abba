"""Each latent dimension by itself, from one end to the other."""

from typing import Literal

import torch
from torch import Tensor

from vae_lightning.cli.workspace import Workspace
from vae_lightning.drawing.labelled_grid import labelled_grid
from vae_lightning.drawing.traversals import (
    aggregate_spread,
    check_dimensions,
    dimension_name,
    prior_spread,
    ranking,
    traversal,
)
from vae_lightning.generation.inputs import Files, Places, Split, check_label, first
from vae_lightning.generation.mode import MakeData, Mode, ModeResult
from vae_lightning.models import Model
from vae_lightning.utils.checks import at_least, positive

CENTRE = "centre"


class Traverse(Mode):
    r"""One row for each latent dimension, which alone moves; the most used first.

    .. math:: z_j = m_j + t s_j, \quad -r \le t \le r

    with centre m and standard deviation s of the prior or of the aggregate posterior. All other
    dimensions stay at those of one image, or at m. The order is by rate, in nats, over some images;
    where the rate does not split, by the variance of the posterior's means over these.

    Args:
        count: images in a row.
        max_dimensions: rows at the most.
        reach: r, in standard deviations.
        spread: whose m and s: those of the `prior`, or of the `aggregate` posterior.
        start: the place in the split of the image to start from, or the file of one, or `centre`.
        fit: scale a file's image that has another size.
        label: the class of a file's image, or the one to show from the centre, for a conditional
            model.
        split: `train`, `val` or `test`.
        num_images: that the dimensions are ranked by, at the most.
    """

    def __init__(
        self,
        count: int,
        max_dimensions: int,
        reach: float,
        spread: Literal["prior", "aggregate"],
        start: int | str,
        fit: bool,
        label: int | None,
        split: Split,
        num_images: int,
    ) -> None:
        at_least("count", count, 2)
        at_least("max_dimensions", max_dimensions, 1)
        positive("reach", reach)
        at_least("num_images", num_images, 2)
        if isinstance(start, int) and label is not None:
            raise ValueError(f"label={label}: image {start} of the split has a class of its own")
        self.count = count
        self.max_dimensions = max_dimensions
        self.reach = reach
        self.spread = spread
        self.start: Places | Files | None = None
        if isinstance(start, int):
            self.start = Places(f"start={start}", [start], split)
        elif start != CENTRE:
            self.start = Files(start, fit, None if label is None else [label])
        self.label = label
        self.split = split
        self.num_images = num_images

    def check(self, model: Model, data: MakeData) -> None:
        check_dimensions(model)
        if not isinstance(self.start, Places):
            check_label(model, self.label)
            if self.start is not None and (found := len(self.start.load(model).images)) > 1:
                raise ValueError(f"start={self.start.paths[0]} has {found} images: name one")
        unread = data()
        Places(f"split={self.split}", [0], self.split).check(unread)
        if isinstance(self.start, Places):
            self.start.check(unread)

    def make(self, workspace: Workspace) -> ModeResult:
        model = workspace.model
        seen = first(workspace, self.split, self.num_images)
        used = ranking(model, *seen)
        order = list(used.order[: self.max_dimensions])
        prior = self.spread == "prior"
        centre, width = prior_spread(model) if prior else aggregate_spread(model, *seen)
        start, label, around, notes = self._start(workspace, centre)

        steps = torch.linspace(-self.reach, self.reach, self.count).to(centre)
        rows = []
        for dimension in order:
            values = centre[dimension] + steps * width[dimension]
            latents = traversal(model, start, dimension, values)
            labels = None if label is None else label.expand(len(latents))
            rows.append(model.mean_images(latents, labels))

        unit = " nats" if used.criterion == "rate" else ""
        names = [
            f"{dimension_name(model, dimension)}   {figure:.2f}{unit}"
            for dimension, figure in zip(order, used.figures, strict=False)
        ]
        whose = "prior" if prior else "aggregate posterior"
        title = f"around {around}, in standard deviations of the {whose}"
        heads = [f"{step:+.1f}" if abs(step) >= 0.05 else "0" for step in steps.tolist()]
        file = workspace.folder / "traversals.png"
        labelled_grid(rows, self.count, title=title, names=names, heads=heads).save(file)
        if used.criterion == "variance":
            notes.append(
                "the rate of this model does not split over its dimensions: they are ordered by "
                "the variance of the posterior's means"
            )
        if len(order) < len(used.order):
            notes.append(f"the {len(order)} most used of {len(used.order)} dimensions")
        total = sum(used.figures)
        share = sum(used.figures[: len(order)]) / total if total else 0.0
        return ModeResult(
            [file],
            {
                "around": around,
                "spread": self.spread,
                "reach": self.reach,
                "dimensions": order,
                used.criterion: list(used.figures[: len(order)]),
            },
            [
                ("dimensions", f"{len(order)}", f"of {len(used.order)}"),
                (used.criterion, f"{total:.2f}", f"{'nats' if unit else ''} in all".strip()),
                ("shown", f"{100 * share:.1f}", f"per cent of the {used.criterion}"),
            ],
            notes,
        )

    def _start(
        self, workspace: Workspace, centre: Tensor
    ) -> tuple[Tensor, Tensor | None, str, list[str]]:
        """Latents (D,), label (1,), what it is, and what to say of it."""
        model = workspace.model
        if self.start is None:
            label = None if self.label is None else torch.tensor([self.label]).to(workspace.device)
            whose = "prior's" if self.spread == "prior" else "aggregate posterior's"
            suffix = "" if self.label is None else f", class {self.label}"
            return centre, label, f"the {whose} centre{suffix}", []
        chosen = self.start.read(workspace)
        label = chosen.conditions(model)
        start = model.latent_means(chosen.images, label)[0]
        return start, label, chosen.names[0], list(chosen.notes)
