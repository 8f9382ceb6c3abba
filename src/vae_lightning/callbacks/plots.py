"""Pictures that are plots, drawn by matplotlib without its global state."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lightning.callbacks.pictures import Drawing, DrawingContext
from vae_lightning.drawing.figures import new_figure, to_image
from vae_lightning.metrics.latents import inferred, latent_means, usage
from vae_lightning.utils.checks import at_least

# Classes in a column of a legend.
_LEGEND_ROWS = 20


def _clean(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)


class Curves(Drawing):
    """elbo, rate and distortion over the epochs, for training and validation images."""

    def draw(self, context: DrawingContext) -> Tensor | None:
        if context.split == "test":
            return None
        figure = new_figure(10, 3)
        figure.subplots_adjust(left=0.06, right=0.99, bottom=0.16, top=0.9, wspace=0.2)
        for axes, name in zip(figure.subplots(1, 3), ("elbo", "rate", "distortion"), strict=True):
            for stage, colour in (("train", "C0"), ("val", "C1")):
                points = context.history.get(f"{stage}/{name}", [])
                if points:
                    axes.plot(*zip(*points, strict=True), "o-", ms=3, color=colour, label=stage)
            axes.set(title=f"{name}, nats per image", xlabel="epoch")
            axes.locator_params(axis="x", integer=True, nbins=5, min_n_ticks=1)
            axes.locator_params(axis="y", nbins=5)
            _clean(axes)
        axes.legend(frameon=False)
        return to_image(figure)


class RatePerDimension(Drawing):
    """The rate of each latent dimension, in nats, in decreasing order; unused ones are near zero.

    Each stochastic layer has a colour of its own.

    Args:
        count: number of images to average over.
    """

    def __init__(self, every_n_epochs: int, count: int) -> None:
        super().__init__(every_n_epochs)
        at_least("count", count, 1)
        self.count = count

    def draw(self, context: DrawingContext) -> Tensor | None:
        images, labels = context.images(self.count)
        scores = usage(context.model, images, labels)
        if "rate_per_dimension" not in scores:
            return None
        rates = torch.tensor(scores["rate_per_dimension"])
        (latents,) = inferred(context.model, *context.images(1))
        layers = torch.cat([torch.full(x.mean.shape[1:], n) for n, x in enumerate(latents)])
        means, order = rates.sort(descending=True)
        width = max(5.5, min(12.0, 1.5 + 0.3 * len(means)))
        figure = new_figure(width, 3)
        figure.subplots_adjust(left=0.8 / width, right=0.98, bottom=0.16, top=0.9)
        axes = figure.subplots()
        for layer in range(len(latents)):
            indices = (layers[order] == layer).nonzero().flatten()
            heights = means[indices]
            label = f"layer {layer + 1}: {heights.sum():.2f} nats"
            axes.bar(indices.tolist(), heights.tolist(), color=f"C{layer % 10}", label=label)
        if len(latents) > 1:
            axes.legend(frameon=False)
        axes.set(
            title=f"{means.sum():.1f} nats over {len(means)} dimensions; {len(images):,} images",
            xlabel="latent dimension" if len(means) <= 50 else "latent dimensions, most used first",
            ylabel="rate, nats",
        )
        if len(means) <= 50:
            axes.set_xticks(range(len(means)), [str(index) for index in order.tolist()], fontsize=8)
        _clean(axes)
        return to_image(figure)


class LatentScatter(Drawing):
    """Posterior means of images, coloured by label.

    Two latent dimensions are shown as they are; of more, the first two principal components, with
    the part of the variance that each one explains.

    Args:
        count: maximum number of images.
    """

    def __init__(self, every_n_epochs: int, count: int) -> None:
        super().__init__(every_n_epochs)
        at_least("count", count, 1)
        self.count = count

    def draw(self, context: DrawingContext) -> Tensor | None:
        images, labels = context.images(self.count)
        means, labels = latent_means(context.model, images, labels).cpu(), labels.cpu()
        title = f"posterior means of {len(means):,} {context.split} images"
        names = [f"$z_{dimension}$" for dimension in range(means.shape[1])]
        if means.shape[1] > 2 and len(means) > 1:
            means, explained = _principal_components(means)
            title = f"PCA of the {title}"
            names = [f"component {n}: {x:.0%} of the variance" for n, x in enumerate(explained, 1)]
        if means.shape[1] != 2:
            return None
        # Without classes all labels are 0.
        classes = context.data.class_names or [""]
        legend_columns = -(-len(classes) // _LEGEND_ROWS)
        width = max(6.5, 5.55 + legend_columns * (0.35 + 0.09 * max(map(len, classes))))
        figure = new_figure(width, 5)
        figure.subplots_adjust(left=0.52 / width, right=5.525 / width, bottom=0.1, top=0.94)
        axes = figure.subplots()
        for label, name in enumerate(classes):
            chosen = means[labels == label]
            axes.scatter(
                chosen[:, 0].numpy(), chosen[:, 1].numpy(), s=3, linewidths=0, label=name,
                color=f"C{label % 10}", rasterized=True,
            )  # fmt: skip
        limit = max(3.0, float(means.abs().quantile(0.995)) * 1.1)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel=names[0], ylabel=names[1])
        axes.set(title=title, aspect="equal")
        if context.data.class_names:
            axes.legend(
                loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=4,
                ncols=legend_columns, columnspacing=1.0,
            )  # fmt: skip
        return to_image(figure)


def _principal_components(points: Tensor) -> tuple[Tensor, list[float]]:
    """The first two principal components of (N, D), (N, 2), and the variance that each explains."""
    from sklearn.decomposition import PCA

    points = points.double()
    found = PCA(2, random_state=0)
    with np.errstate(invalid="ignore"):  # its ratios, if all points are the same
        projected = torch.from_numpy(found.fit_transform(points.numpy()))
    total = float(points.var(0).sum()) or 1.0
    return projected, [float(variance) / total for variance in found.explained_variance_]
