"""The pictures of a model: grids of images. Plots are in `plots`."""

import torch
from torch import Tensor

from vae_lightning.callbacks.pictures import Drawing, Scene
from vae_lightning.drawing.grids import grid
from vae_lightning.drawing.traversals import prior_spread, quantile_grid, ranking, traversal
from vae_lightning.models import VAE
from vae_lightning.utils.checks import at_least


class Reconstructions(Drawing):
    """Images and, beneath each, the mean of p(x|z) at the posterior's mean.

    Args:
        rows, columns: of pairs.
    """

    def __init__(self, every_n_epochs: int, rows: int, columns: int) -> None:
        super().__init__(every_n_epochs)
        at_least("rows", rows, 1)
        at_least("columns", columns, 1)
        self.rows, self.columns = rows, columns

    def draw(self, scene: Scene) -> Tensor:
        images, labels = scene.images(self.rows * self.columns)
        columns = min(self.columns, len(images))
        images = images[: len(images) // columns * columns]
        reconstructions = scene.model.reconstruct(images, labels[: len(images)])
        pairs = torch.stack(
            [part for row in zip(
                images.split(columns), reconstructions.split(columns), strict=True
            ) for half in row for part in half]
        )  # fmt: skip
        return grid(pairs, columns)


class Samples(Drawing):
    """Mean images of p(x|z), z from the prior: the same z each time, so that one sees them sharpen.

    Args:
        count: how many, in rows of eight, or of one of each class.
    """

    def __init__(self, every_n_epochs: int, count: int) -> None:
        super().__init__(every_n_epochs)
        at_least("count", count, 1)
        self.count = count

    def draw(self, scene: Scene) -> Tensor:
        # A prior that is learned moves, and its samples with it.
        classes = scene.model.num_classes
        if classes is None:
            return grid(scene.model.sample(self.count), 8)
        # Whole rows, so that each class has a column.
        return grid(scene.model.sample(max(1, self.count // classes) * classes), classes)


class Manifold(Drawing):
    """The latent plane, decoded at the quantiles of the prior; for two dimensions only.

    Args:
        count: images along each side.
    """

    def __init__(self, every_n_epochs: int, count: int) -> None:
        super().__init__(every_n_epochs)
        at_least("count", count, 2)
        self.count = count

    def draw(self, scene: Scene) -> Tensor | None:
        model = scene.model
        if not isinstance(model, VAE) or model.latent_dim != 2 or model.num_classes is not None:
            return None
        if model.posterior.space != "euclidean":
            return None
        latents = quantile_grid(model, self.count, prior_spread(model)[0], [0, 1])
        return grid(model.mean_images(latents), self.count)


class Traversals(Drawing):
    """One row for each latent dimension, from -3 to 3 around one image; most used dimensions first.

    Args:
        count: images in a row.
        max_dimensions: rows at the most.
    """

    def __init__(self, every_n_epochs: int, count: int, max_dimensions: int) -> None:
        super().__init__(every_n_epochs)
        at_least("count", count, 2)
        at_least("max_dimensions", max_dimensions, 1)
        self.count, self.max_dimensions = count, max_dimensions

    def draw(self, scene: Scene) -> Tensor | None:
        model = scene.model
        if not isinstance(model, VAE):
            return None
        if model.latent_dim == 2 and model.num_classes is None:
            return None  # the manifold shows all of it
        images, labels = scene.images(1000)
        used = ranking(model, images, labels)
        if used.criterion != "rate":
            return None
        order = used.order[: self.max_dimensions]
        start = model.latent_means(images[:1], labels[:1])[0]
        values = torch.linspace(-3, 3, self.count, device=start.device)
        latents = torch.cat([traversal(model, start, dimension, values) for dimension in order])
        return grid(model.mean_images(latents, labels[:1].expand(len(latents))), self.count)
