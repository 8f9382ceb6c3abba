"""Pictures and text about an augmented data set."""

from collections.abc import Sequence
from statistics import fmean, stdev

import torch
from torch import Tensor

from vae_lightning.drawing.figures import new_figure, to_image
from vae_lightning.drawing.grids import grid
from vae_lightning.generation.augment_evaluation import AccuracyComparison
from vae_lightning.generation.augment_methods import Generate, LabelledImages, Method

# Rows of the picture at most, generated images in each group, pixels between groups.
_MAX_CLASSES = 20
_GENERATED = {"perturb": 5, "conditional": 8}
_GAP = 12


def examples(train: LabelledImages, generate: Generate, method: Method) -> Tensor:
    """A picture with a row for each class: originals, a gap, generated images.

    With `perturb`, each row has two groups: an original and images generated from it.

    Shape:
        returns uint8 (3, H, W).
    """
    classes = train.labels.unique()[:_MAX_CLASSES]
    by_class = [(train.labels == label).nonzero().flatten() for label in classes]
    parts: list[Tensor] = []
    for group in ([0, 1, 2, 3],) if method == "conditional" else ([0], [1]):
        originals = torch.stack(
            [indices[torch.tensor(group) % len(indices)] for indices in by_class]
        )
        sources = originals[:, torch.arange(_GENERATED[method]) % len(group)].flatten()
        generated = generate(sources, train.labels[sources])
        parts += [
            grid(train.images[originals.flatten()], len(group)),
            grid(generated, _GENERATED[method]),
        ]
    gap = parts[0].new_full((3, parts[0].shape[1], _GAP), 255)
    between = [piece for part in parts for piece in (gap, part)][1:]
    return torch.cat(between, dim=2)


def chart(comparisons: Sequence[AccuracyComparison]) -> Tensor:
    """Accuracy over labels per class: means, standard deviations, and each seed.

    Shape:
        returns uint8 (3, H, W).
    """
    figure = new_figure(6, 4)
    figure.subplots_adjust(left=0.12, right=0.97, bottom=0.14, top=0.92)
    axes = figure.subplots()
    sizes = [comparison.labels_per_class for comparison in comparisons]
    # Side by side, so that one does not hide the other.
    for shift, colour, name in ((0.96, "C7", "without"), (1.04, "C0", "augmented")):
        at = [shift * size for size in sizes]
        values = [[100 * value for value in getattr(item, name)] for item in comparisons]
        means, deviations = [fmean(v) for v in values], [stdev(v) for v in values]
        axes.errorbar(at, means, deviations, fmt="o-", capsize=4, color=colour, label=name)
        for x, seeds in zip(at, values, strict=True):
            axes.plot([x] * len(seeds), seeds, ".", ms=4, color=colour, alpha=0.5)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set(
        title=f"a small classifier, {len(comparisons[0].without)} seeds",
        xlabel="labelled images per class",
        ylabel="accuracy on the test split, %",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.legend(frameon=False, loc="lower right")
    return to_image(figure)


def rows(comparisons: Sequence[AccuracyComparison]) -> list[tuple[str, str, str]]:
    """Two rows of the table for each comparison."""
    lines = []
    for comparison in comparisons:
        labels = f"{comparison.labels_per_class:,} per class"
        for name in ("without", "augmented"):
            values = getattr(comparison, name)
            value = f"{100 * fmean(values):.2f} ± {100 * stdev(values):.2f}"
            lines.append((f"{labels}, {name}", value, f"% accuracy, {len(values)} seeds"))
    return lines


def verdicts(comparisons: Sequence[AccuracyComparison]) -> list[str]:
    """A line for each comparison."""
    return [f"{item.labels_per_class:,} labels per class: {item.verdict}" for item in comparisons]


def left_out(sizes: Sequence[int], smallest: int) -> list[str]:
    """A line for each size that is larger than the smallest class."""
    return [
        f"{size:,} labels per class: left out, the smallest class has {smallest:,} training images"
        for size in sizes
    ]


def model_labels_note(conditional: bool, num_train: int) -> str:
    """Which labels the model was trained with, and how to read the comparison."""
    if conditional:
        return (
            f"the model was trained with the labels of all {num_train:,} training images, so this "
            "is not a gain from few labels: it shows how well its images replace real ones"
        )
    return (
        f"the model was trained on all {num_train:,} training images, without their labels; a "
        "classifier was trained only on its labelled images and the images generated from them"
    )
