"""A grid over two latent dimensions."""

from vae_lightning.cli.workspace import Workspace
from vae_lightning.drawing.labelled_grid import labelled_grid
from vae_lightning.drawing.traversals import (
    check_dimensions,
    dimension_name,
    has_exact_quantiles,
    prior_spread,
    quantile_grid,
    ranking,
)
from vae_lightning.generation.batches import check_label, repeated_label
from vae_lightning.generation.inputs import Split, check_not_empty, first_images
from vae_lightning.generation.mode import DataFactory, Mode, ModeResult
from vae_lightning.models import Model
from vae_lightning.utils.checks import at_least


class ManifoldMode(Mode):
    r"""Decode a grid over two latent dimensions, in equal steps of the prior's probability.

    .. math:: z_j = F_j^{-1}\Big(\frac{i + 1/2}{n}\Big), \quad i = 0 \dots n - 1

    with F_j the CDF of the prior's marginal. If there are more than two dimensions, the two most
    used ones vary, and the others stay at the prior's mean.

    Args:
        count: n, images along each side.
        label: the class to show, for a conditional model.
        split: of the images that dimensions are ranked by: `train`, `val` or `test`.
        num_images: how many of these, at most.

    Raises:
        ValueError: a value out of range.

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes", 2014 (figure 4),
        https://arxiv.org/abs/1312.6114
    """

    def __init__(self, count: int, label: int | None, split: Split, num_images: int) -> None:
        at_least("count", count, 2)
        at_least("num_images", num_images, 2)
        self.count = count
        self.label = label
        self.split: Split = split
        self.num_images = num_images

    def check(self, model: Model, data: DataFactory) -> None:
        check_dimensions(model)
        check_label(model, self.label)
        dims = model.sample_latents(1).shape[1]
        if dims < 2:
            raise ValueError("count: this model has one latent dimension: use mode=traverse")
        if dims > 2:
            check_not_empty(data(), self.split)

    def make(self, workspace: Workspace) -> ModeResult:
        model = workspace.model
        mean, _ = prior_spread(model)
        notes, facts = [], {}
        if len(mean) == 2:
            dimensions = [0, 1]
        else:
            used = ranking(model, *first_images(workspace, self.split, self.num_images))
            dimensions = list(used.order[:2])
            facts = {used.criterion: list(used.figures[:2])}
            unit = " nats" if used.criterion == "rate" else ""
            names = " and ".join(
                f"{dimension_name(model, dimension)} ({used.criterion} {figure:.2f}{unit})"
                for dimension, figure in zip(dimensions, used.figures, strict=False)
            )
            notes.append(
                f"the two most used of {len(mean)} dimensions: {names}; the others are at the "
                "prior's mean"
            )
        across, up = (dimension_name(model, dimension) for dimension in dimensions)
        if not has_exact_quantiles(model):
            notes.append("quantiles are estimated from draws of the prior")
        latents = quantile_grid(model, self.count, mean, dimensions)
        labels = repeated_label(self.label, len(latents), workspace.device)
        images = model.mean_images(latents, labels)

        left, high = latents[0, dimensions].tolist()
        right, low = latents[-1, dimensions].tolist()
        title = f"to the right {across}, {left:+.2f} to {right:+.2f};   "
        title += f"upwards {up}, {low:+.2f} to {high:+.2f}"
        file = workspace.folder / "manifold.png"
        labelled_grid([images], self.count, title=title).save(file)
        return ModeResult(
            [file],
            {"count": self.count, "label": self.label, "dimensions": dimensions, **facts},
            [
                ("images", f"{self.count} x {self.count}", ""),
                ("to the right", across, "latent dimension"),
                ("upwards", up, "latent dimension"),
            ],
            notes,
        )
