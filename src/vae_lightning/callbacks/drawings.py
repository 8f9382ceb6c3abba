"""Pictures that are grids of images. Plots are in `plots`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lightning.callbacks.pictures import Drawing, DrawingContext
from vae_lightning.drawing.labelled_grid import labelled_grid
from vae_lightning.drawing.traversals import (
    dimension_name,
    prior_spread,
    quantile_grid,
    ranking,
    traversal,
)
from vae_lightning.models import VAE
from vae_lightning.utils.checks import at_least


def _labelled(groups: Sequence[Tensor], columns: int, **labels: Any) -> Tensor:
    """The picture of `labelled_grid`, uint8 (3, H, W)."""
    picture = np.array(labelled_grid(groups, columns, **labels))
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous()


class Reconstructions(Drawing):
    """Images and, below each, its reconstruction: the mean of p(x|z) at the posterior mean.

    Args:
        rows, columns: number of pairs in each direction.
    """

    def __init__(self, every_n_epochs: int, rows: int, columns: int) -> None:
        super().__init__(every_n_epochs)
        at_least("rows", rows, 1)
        at_least("columns", columns, 1)
        self.rows, self.columns = rows, columns

    def draw(self, context: DrawingContext) -> Tensor:
        images, labels = context.images(self.rows * self.columns)
        columns = min(self.columns, len(images))
        images = images[: len(images) // columns * columns]
        reconstructions = context.model.reconstruct(images, labels[: len(images)])
        rows = [
            row
            for pair in zip(images.split(columns), reconstructions.split(columns), strict=True)
            for row in pair
        ]
        return _labelled(
            rows,
            columns,
            title=f"{context.split} images and their reconstructions",
            group_titles=["input", "reconstruction"] * (len(rows) // 2),
        )


class Samples(Drawing):
    """Means of p(x|z) with z from the prior, drawn with the same seed each time.

    Args:
        count: number of samples, in rows of eight; of a conditional model, in a column per class.
        animated: whether to make a GIF of the epochs at the end of training.
    """

    def __init__(self, every_n_epochs: int, count: int, animated: bool) -> None:
        super().__init__(every_n_epochs)
        at_least("count", count, 1)
        self.count = count
        self.animated = animated

    def draw(self, context: DrawingContext) -> Tensor:
        classes = context.model.num_classes
        if classes is None:
            samples = context.model.sample(self.count)
            return _labelled([samples], 8, title="samples from the prior")
        # Full rows only.
        samples = context.model.sample(max(1, self.count // classes) * classes)
        names = context.data.class_names or [str(label) for label in range(classes)]
        title = "samples from the prior, by class"
        return _labelled([samples], classes, title=title, column_titles=names)


class Manifold(Drawing):
    """A two-dimensional latent space, decoded on a grid of the prior's quantiles.

    Args:
        count: images per side.
    """

    def __init__(self, every_n_epochs: int, count: int) -> None:
        super().__init__(every_n_epochs)
        at_least("count", count, 2)
        self.count = count

    def draw(self, context: DrawingContext) -> Tensor | None:
        model = context.model
        if not isinstance(model, VAE) or model.latent_dim != 2 or model.num_classes is not None:
            return None
        if model.posterior.space != "euclidean":
            return None
        latents = quantile_grid(model, self.count, prior_spread(model)[0], [0, 1])
        (left, high), (right, low) = latents[0].tolist(), latents[-1].tolist()
        title = f"to the right z0, {left:+.2f} to {right:+.2f};   "
        title += f"upwards z1, {low:+.2f} to {high:+.2f}"
        return _labelled([model.mean_images(latents)], self.count, title=title)


class Traversals(Drawing):
    """One row per latent dimension, from -3 to 3 around one image, sorted by decreasing rate.

    Args:
        count: images per row.
        max_dimensions: maximum number of rows.
    """

    def __init__(self, every_n_epochs: int, count: int, max_dimensions: int) -> None:
        super().__init__(every_n_epochs)
        at_least("count", count, 2)
        at_least("max_dimensions", max_dimensions, 1)
        self.count, self.max_dimensions = count, max_dimensions

    def draw(self, context: DrawingContext) -> Tensor | None:
        model = context.model
        if not isinstance(model, VAE):
            return None
        if model.latent_dim == 2 and model.num_classes is None:
            return None  # Manifold shows the whole space
        images, labels = context.images(1000)
        used = ranking(model, images, labels)
        if used.criterion != "rate":
            return None
        order = used.order[: self.max_dimensions]
        start = model.latent_means(images[:1], labels[:1])[0]
        values = torch.linspace(-3, 3, self.count, device=start.device)
        rows = []
        for dimension in order:
            latents = traversal(model, start, dimension, values)
            rows.append(model.mean_images(latents, labels[:1].expand(len(latents))))
        total = sum(used.figures)
        return _labelled(
            rows,
            self.count,
            title=f"one dimension of z varied around {context.split} image 0; "
            f"{len(order)} of {model.latent_dim} dimensions, "
            f"{sum(used.figures[: len(order)]):.2f} of {total:.2f} nats",
            group_titles=[
                f"{dimension_name(model, dimension)}   {rate:.2f} nats"
                for dimension, rate in zip(order, used.figures, strict=False)
            ],
            column_titles=[
                f"{value:+.1f}" if abs(value) >= 0.05 else "0" for value in values.tolist()
            ],
        )
