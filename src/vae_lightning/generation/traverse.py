"""Traversals of the latent dimensions."""

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
from vae_lightning.generation.batches import check_label, repeated_label
from vae_lightning.generation.inputs import (
    ImageFiles,
    Split,
    SplitImages,
    check_not_empty,
    first_images,
)
from vae_lightning.generation.mode import DataFactory, Mode, ModeResult
from vae_lightning.models import Model
from vae_lightning.utils.checks import at_least, positive

CENTRE = "centre"


class TraverseMode(Mode):
    r"""Vary one latent dimension in each row, the most used ones first.

    .. math:: z_j = m_j + t s_j, \quad -r \le t \le r

    with mean m and standard deviation s of the prior or of the aggregate posterior. The other
    dimensions keep the values inferred from one image, or m. Dimensions are ordered by their rate,
    in nats, over some images; if the rate has no terms per dimension, by the variance of the
    posterior's means over these images.

    Args:
        count: images in a row.
        max_dimensions: rows, at most.
        reach: r, in standard deviations.
        spread: m and s are those of the `prior`, or of the `aggregate` posterior.
        start: index in the split of the image to start from, or an image file, or `centre` for m.
        fit: scale the image of a file that has another size.
        label: the class of the file's image, or the one to show around m, for a conditional
            model.
        split: `train`, `val` or `test`.
        num_images: that dimensions are ranked by, at most.

    Raises:
        ValueError: a value out of range, or a label for an image of a split.
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
            raise ValueError(
                f"label={label}: image {start} of the split has its own: leave mode.label=null"
            )
        self.count = count
        self.max_dimensions = max_dimensions
        self.reach = reach
        self.spread = spread
        self.start: SplitImages | ImageFiles | None = None
        if isinstance(start, int):
            self.start = SplitImages(f"start={start}", [start], split)
        elif start != CENTRE:
            self.start = ImageFiles(start, fit, None if label is None else [label])
        self.label = label
        self.split: Split = split
        self.num_images = num_images

    def check(self, model: Model, data: DataFactory) -> None:
        check_dimensions(model)
        if not isinstance(self.start, SplitImages):
            check_label(model, self.label)
        if isinstance(self.start, ImageFiles) and (n := len(self.start.load(model).images)) > 1:
            raise ValueError(f"start={self.start.paths[0]} has {n} images: name one")
        module = data()
        check_not_empty(module, self.split)
        if isinstance(self.start, SplitImages):
            self.start.check(module)

    def make(self, workspace: Workspace) -> ModeResult:
        model = workspace.model
        images, image_labels = first_images(workspace, self.split, self.num_images)
        used = ranking(model, images, image_labels)
        order = list(used.order[: self.max_dimensions])
        if self.spread == "prior":
            mean, width = prior_spread(model)
        else:
            mean, width = aggregate_spread(model, images, image_labels)
        start, label, around, notes = self._start(workspace, mean)

        t = torch.linspace(-self.reach, self.reach, self.count).to(mean)
        rows = []
        for dimension in order:
            latents = traversal(model, start, dimension, mean[dimension] + t * width[dimension])
            labels = None if label is None else label.expand(len(latents))
            rows.append(model.mean_images(latents, labels))

        unit = " nats" if used.criterion == "rate" else ""
        file = workspace.folder / "traversals.png"
        labelled_grid(
            rows,
            self.count,
            title=f"around {around}, in standard deviations of the {self._distribution}",
            group_titles=[
                f"{dimension_name(model, dimension)}   {figure:.2f}{unit}"
                for dimension, figure in zip(order, used.figures, strict=False)
            ],
            column_titles=[f"{step:+.1f}" if abs(step) >= 0.05 else "0" for step in t.tolist()],
        ).save(file)
        if used.criterion == "variance":
            notes.append(
                "the rate of this model has no terms per dimension: dimensions are ordered by the "
                "variance of the posterior's means"
            )
        if len(order) < len(used.order):
            notes.append(f"the {len(order)} most used of {len(used.order)} dimensions")
        total = sum(used.figures)
        fraction = sum(used.figures[: len(order)]) / total if total else 0.0
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
                (used.criterion, f"{total:.2f}", "nats in all" if unit else "in all"),
                ("shown", f"{100 * fraction:.1f}", f"per cent of the {used.criterion}"),
            ],
            notes,
        )

    @property
    def _distribution(self) -> str:
        return "prior" if self.spread == "prior" else "aggregate posterior"

    def _start(
        self, workspace: Workspace, mean: Tensor
    ) -> tuple[Tensor, Tensor | None, str, list[str]]:
        """Latents (D,), label (1,), what they are, and notes."""
        model = workspace.model
        if self.start is None:
            label = repeated_label(self.label, 1, workspace.device)
            suffix = "" if self.label is None else f", class {self.label}"
            return mean, label, f"the {self._distribution}'s mean{suffix}", []
        selected = self.start.select(workspace)
        label = selected.labels_for(model)
        start = model.latent_means(selected.images, label)[0]
        return start, label, selected.names[0], list(selected.notes)
