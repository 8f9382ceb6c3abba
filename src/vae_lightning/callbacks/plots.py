"""The pictures of a model: plots with axes, drawn by matplotlib without its global state."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vae_lightning.callbacks.pictures import Scene
from vae_lightning.checks import at_least
from vae_lightning.distributions.divergence import rate_per_dimension

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """A figure of so many inches, at 100 dots per inch."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def to_image(figure: "Figure") -> Tensor:
    """Draw a figure.

    Shape:
        returns uint8 (3, H, W).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
    width, height = canvas.get_width_height()
    return pixels.reshape(height, width, 4)[..., :3].permute(2, 0, 1).contiguous()


def _clean(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)


class Curves:
    """Loss, elbo, rate and distortion over the epochs, of training and validation images."""

    def __call__(self, scene: Scene) -> Tensor | None:
        if scene.split == "test":
            return None
        figure = new_figure(10, 3)
        for axes, name in zip(figure.subplots(1, 3), ("elbo", "rate", "distortion"), strict=True):
            for stage, colour in (("train", "C0"), ("val", "C1")):
                points = scene.history.get(f"{stage}/{name}", [])
                if points:
                    axes.plot(*zip(*points, strict=True), "o-", ms=3, color=colour, label=stage)
            axes.set(title=name, xlabel="epoch", ylabel="nats per image")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend(frameon=False)
            _clean(axes)
        return to_image(figure)


class RatePerDimension:
    """How many nats each latent dimension spends, most first; near zero, it is not used.

    Args:
        count: images that are averaged.
    """

    def __init__(self, count: int) -> None:
        at_least("count", count, 1)
        self.count = count

    def __call__(self, scene: Scene) -> Tensor | None:
        images, _ = scene.data.images(scene.split, self.count)
        rates = rate_per_dimension(scene.model.encode(images), scene.model.prior_distribution())
        if rates is None:
            return None
        means, order = rates.mean(0).cpu().sort(descending=True)
        figure = new_figure(max(4.0, min(12.0, 1.5 + 0.3 * len(means))), 3)
        axes = figure.subplots()
        axes.bar(range(len(means)), means.tolist(), color="C0")
        axes.set(
            title=f"{means.sum():.1f} nats over {len(means)} dimensions",
            xlabel="latent dimension",
            ylabel="rate, nats",
        )
        if len(means) <= 50:
            axes.set_xticks(range(len(means)), [str(index) for index in order.tolist()], fontsize=8)
        _clean(axes)
        return to_image(figure)


class LatentScatter:
    """The posterior means of many images in the latent plane, coloured by label; two dimensions.

    Args:
        count: images at the most.
    """

    def __init__(self, count: int) -> None:
        at_least("count", count, 1)
        self.count = count

    def __call__(self, scene: Scene) -> Tensor | None:
        if scene.model.latent_dim != 2:
            return None
        images, labels = scene.data.images(scene.split, self.count)
        means, labels = scene.model.encode(images).mean.cpu(), labels.cpu()
        figure = new_figure(6, 5)
        axes = figure.subplots()
        for label, name in enumerate(scene.data.class_names):
            chosen = means[labels == label]
            axes.scatter(
                chosen[:, 0].numpy(), chosen[:, 1].numpy(), s=3, linewidths=0, label=name,
                color=f"C{label % 10}", rasterized=True,
            )  # fmt: skip
        limit = max(3.0, float(means.abs().quantile(0.995)) * 1.1)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel="$z_1$", ylabel="$z_2$")
        axes.set(title=f"posterior means of {len(means):,} {scene.split} images", aspect="equal")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=4)
        return to_image(figure)
