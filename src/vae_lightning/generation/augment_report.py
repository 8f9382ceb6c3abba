"""What is said and shown of an enlarged data set."""

from collections.abc import Sequence
from statistics import fmean, stdev

import torch
from torch import Tensor

from vae_lightning.drawing.figures import new_figure, to_image
from vae_lightning.drawing.grids import grid
from vae_lightning.generation.augment_evaluation import Worth
from vae_lightning.generation.augment_methods import Labelled, Make, Method

# Of the picture: rows at the most, made images in each group, pixels between groups.
_CLASSES = 20
_MADE = {"perturb": 5, "conditional": 8}
_GAP = 12


def examples(train: Labelled, make: Make, method: Method) -> Tensor:
    """A picture with a row for each class: originals, and behind a gap what is made.

    Of `perturb` it is made of the one original before the gap, and there are two such pairs.

    Shape:
        returns uint8 (3, H, W).
    """
    classes = train.labels.unique()[:_CLASSES]
    own = [(train.labels == label).nonzero().flatten() for label in classes]
    parts: list[Tensor] = []
    for group in ([0, 1, 2, 3],) if method == "conditional" else ([0], [1]):
        originals = torch.stack([places[torch.tensor(group) % len(places)] for places in own])
        sources = originals[:, torch.arange(_MADE[method]) % len(group)].flatten()
        made = make(sources, train.labels[sources])
        parts += [
            grid(train.images[originals.flatten()] / 255, len(group)),
            grid(made / 255, _MADE[method]),
        ]
    gap = parts[0].new_full((3, parts[0].shape[1], _GAP), 255)
    between = [piece for part in parts for piece in (gap, part)][1:]
    return torch.cat(between, dim=2)


def chart(worths: Sequence[Worth]) -> Tensor:
    """Accuracy over labels per class, with and without: means, deviations, and each seed.

    Shape:
        returns uint8 (3, H, W).
    """
    figure = new_figure(6, 4)
    figure.subplots_adjust(left=0.12, right=0.97, bottom=0.14, top=0.92)
    axes = figure.subplots()
    # Side by side, so that one does not hide the other.
    for shift, colour, name in ((0.96, "C7", "without"), (1.04, "C0", "enlarged")):
        at = [shift * worth.labels_per_class for worth in worths]
        values = [[100 * value for value in getattr(worth, name)] for worth in worths]
        means, deviations = [fmean(v) for v in values], [stdev(v) for v in values]
        axes.errorbar(at, means, deviations, fmt="o-", capsize=4, color=colour, label=name)
        for x, seeds in zip(at, values, strict=True):
            axes.plot([x] * len(seeds), seeds, ".", ms=4, color=colour, alpha=0.5)
    axes.set_xscale("log")
    sizes = [worth.labels_per_class for worth in worths]
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set(
        title=f"a small classifier, {len(worths[0].without)} seeds",
        xlabel="labelled images per class",
        ylabel="accuracy on the test split, %",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.legend(frameon=False, loc="lower right")
    return to_image(figure)


def rows(worths: Sequence[Worth]) -> list[tuple[str, str, str]]:
    """Lines of the table, one for each size with and without."""
    lines = []
    for worth in worths:
        labels = f"{worth.labels_per_class:,} per class"
        for name, values in (("without", worth.without), ("enlarged", worth.enlarged)):
            value = f"{100 * fmean(values):.2f} ± {100 * stdev(values):.2f}"
            lines.append((f"{labels}, {name}", value, f"% accuracy, {len(values)} seeds"))
    return lines


def verdicts(worths: Sequence[Worth]) -> list[str]:
    """What each size comes to, in plain words."""
    return [f"{worth.labels_per_class:,} labels per class: {worth.verdict}" for worth in worths]


def left_out(sizes: Sequence[int], smallest: int) -> list[str]:
    """A line for each size that the data does not have."""
    return [
        f"{size:,} labels per class: left out, the smallest class has {smallest:,} training images"
        for size in sizes
    ]


def what_the_model_saw(conditional: bool, num_train: int) -> str:
    """What the model knew that the classifiers did not, and what follows for the comparison."""
    if conditional:
        return (
            f"the model was trained with the labels of all {num_train:,} training images, so this "
            "is no gain from few labels: it shows how far its images stand in for real ones"
        )
    return (
        f"the model was trained on all {num_train:,} training images, without their labels; a "
        "classifier saw its own labelled images and what was made of them, no others"
    )
