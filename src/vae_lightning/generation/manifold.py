"""The square of a latent plane."""

import torch

from vae_lightning.cli.workspace import Workspace
from vae_lightning.drawing.labelled_grid import labelled_grid
from vae_lightning.drawing.traversals import (
    check_dimensions,
    dimension_name,
    knows_prior,
    prior_quantiles,
    prior_spread,
    ranking,
    square,
)
from vae_lightning.generation.inputs import Places, Split, check_label, first
from vae_lightning.generation.mode import MakeData, Mode, ModeResult
from vae_lightning.models import Model
from vae_lightning.utils.checks import at_least


class Manifold(Mode):
    r"""Two latent dimensions, decoded at the prior's quantiles: equal steps of probability.

    .. math:: z_j = F_j^{-1}\Big(\frac{i + 1/2}{n}\Big), \quad i = 0 \dots n - 1

    Of more than two dimensions, the two that some images use most; the others stay at the centre of
    the prior. Where the prior's dimensions are not independent, F_j is the marginal of each.

    Args:
        count: n, images along each side.
        label: the class to show, for a conditional model.
        split: of the images that dimensions are ranked by: `train`, `val` or `test`.
        num_images: how many of these, at the most.
    """

    def __init__(self, count: int, label: int | None, split: Split, num_images: int) -> None:
        at_least("count", count, 2)
        at_least("num_images", num_images, 2)
        self.count = count
        self.label = label
        self.split = split
        self.num_images = num_images

    def check(self, model: Model, data: MakeData) -> None:
        check_dimensions(model)
        check_label(model, self.label)
        dims = model.sample_latents(1).shape[1]
        if dims < 2:
            raise ValueError("count: this model has one latent dimension: use mode=traverse")
        if dims > 2:
            Places(f"split={self.split}", [0], self.split).check(data())

    def make(self, workspace: Workspace) -> ModeResult:
        model = workspace.model
        centre, _ = prior_spread(model)
        notes, facts = [], {}
        if len(centre) == 2:
            shown = [0, 1]
        else:
            used = ranking(model, *first(workspace, self.split, self.num_images))
            shown = list(used.order[:2])
            facts = {used.criterion: list(used.figures[:2])}
            unit = " nats" if used.criterion == "rate" else ""
            uses = " and ".join(
                f"{dimension_name(model, dimension)} ({used.criterion} {figure:.2f}{unit})"
                for dimension, figure in zip(shown, used.figures, strict=False)
            )
            notes.append(
                f"of {len(centre)} dimensions the two most used, {uses}; "
                "the others are at the prior's centre"
            )
        across, up = (dimension_name(model, dimension) for dimension in shown)
        if not knows_prior(model):
            notes.append("the quantiles are those of the prior's draws, each dimension by itself")
        latents = square(model, self.count, centre, shown)
        labels = None if self.label is None else torch.full((len(latents),), self.label)
        images = model.mean_images(latents, None if labels is None else labels.to(workspace.device))

        shares = ((torch.arange(self.count) + 0.5) / self.count).to(centre)
        ends = prior_quantiles(model, shown, shares[[0, -1]])
        (left, right), (low, high) = ends.tolist()
        title = f"to the right {across}, {left:+.2f} to {right:+.2f};   "
        title += f"upwards {up}, {low:+.2f} to {high:+.2f}"
        file = workspace.folder / "manifold.png"
        labelled_grid([images], self.count, title=title).save(file)
        return ModeResult(
            [file],
            {"count": self.count, "label": self.label, "dimensions": shown, **facts},
            [
                ("images", f"{self.count} x {self.count}", ""),
                ("to the right", across, "latent dimension"),
                ("upwards", up, "latent dimension"),
            ],
            notes,
        )
