"""Draws docs/images/overview.png from three runs.

python -m vae_lightning.train
python -m vae_lightning.train experiment=vampprior
python -m vae_lightning.train model.latent_dim=2 trainer.max_epochs=40
python docs/overview.py <first run> <second run> <third run>
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from vae_lightning.checkpoint import Checkpoint

COLUMNS = 10
GAP = 2  # pixels between images


def tiles(images: Tensor, columns: int) -> np.ndarray:
    """Images (N, 1, H, W) as one picture, white between them."""
    rows = images.shape[0] // columns
    padded = torch.nn.functional.pad(images[: rows * columns, 0], (GAP, GAP, GAP, GAP), value=0)
    height, width = padded.shape[1:]
    grid = padded.view(rows, columns, height, width).transpose(1, 2)
    return np.asarray(grid.reshape(rows * height, columns * width))


def show(axis: Axes, picture: np.ndarray, title: str) -> None:
    axis.imshow(picture, cmap="gray_r", vmin=0, vmax=1, interpolation="lanczos")
    axis.set_title(title, fontsize=11, loc="left")
    axis.set_anchor("NW")
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def main() -> None:
    default, vamp, plane = (Checkpoint(Path(folder)) for folder in sys.argv[1:4])
    data = default.data()
    data.setup("test")
    images, _ = data.images("test", 10_000)

    figure = plt.figure(figsize=(13, 4.75), layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=(1.32, 1, 1), height_ratios=(4.35, 5.35))

    model = default.model()
    shown = images[: 2 * COLUMNS]
    pairs = torch.stack(
        [
            shown.view(2, COLUMNS, *shown.shape[1:]),
            *[model.reconstruct(shown).view(2, COLUMNS, *shown.shape[1:])],
        ],
        dim=1,
    ).flatten(0, 2)
    axis = figure.add_subplot(grid[0, 0])
    show(axis, tiles(pairs, COLUMNS), "Test images and their reconstructions, 20 latent dimensions")
    height = images.shape[-1] + 2 * GAP
    axis.set_yticks(height * (np.arange(4) + 0.5), ["input", "decoded"] * 2)
    axis.tick_params(length=0)

    generator = torch.Generator().manual_seed(0)
    samples = vamp.model().sample(5 * COLUMNS, generator=generator)
    show(figure.add_subplot(grid[1, 0]), tiles(samples, COLUMNS), "Samples from a VampPrior")

    model = plane.model()
    data = plane.data()
    data.setup("test")
    images, labels = data.images("test", 5000)
    means = model.latent_means(images)
    axis = figure.add_subplot(grid[:, 1])
    for digit in range(10):
        chosen = means[labels == digit]
        axis.scatter(
            chosen[:, 0], chosen[:, 1], s=6, alpha=0.6, color=f"C{digit}", label=str(digit), lw=0
        )
    axis.set(
        xlim=(-3.6, 3.6), ylim=(-3.6, 3.6), box_aspect=1, anchor="N", xlabel="$z_1$", ylabel="$z_2$"
    )
    axis.set_title("A latent space of two dimensions", fontsize=11, loc="left")
    axis.legend(
        ncols=10,
        markerscale=3,
        fontsize=9,
        loc="upper center",
        handletextpad=-0.4,
        columnspacing=0.35,
        bbox_to_anchor=(0.5, -0.1),
        frameon=False,
    )

    side = 14
    steps = torch.distributions.Normal(0.0, 1.0).icdf(torch.linspace(0.02, 0.98, side))
    latents = torch.stack(torch.meshgrid(steps, steps.flip(0), indexing="xy"), dim=-1).view(-1, 2)
    decoded = model.mean_images(latents)[:, 0].view(side, side, 28, 28).transpose(1, 2)
    show(
        figure.add_subplot(grid[:, 2]),
        np.asarray(decoded.reshape(side * 28, side * 28)),
        "The same space, decoded",
    )
    figure.savefig(Path(__file__).parent / "images" / "overview.png", dpi=110)


if __name__ == "__main__":
    main()
