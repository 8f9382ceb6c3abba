"""Figures of a detection result."""

import torch
from torch import Tensor

from vae_lightning.detection.results import DetectionResult
from vae_lightning.detection.scores import UNITS
from vae_lightning.drawing.figures import new_figure, to_image
from vae_lightning.drawing.grids import side_by_side

_ROWS, _COLUMNS = 3, 10
# Characters of a name that fit below an image.
_MAX_NAME = 15
_NORMAL, _ANOMALY, _VALIDATION = "C0", "C3", "0.6"


def extremes(result: DetectionResult) -> Tensor:
    """The most and the least anomalous images with scores and names; a red frame is an anomaly's.

    Shape:
        returns uint8 (3, H, W).
    """
    inputs, first = result.inputs, result.scores[0]
    ranking = first.ranking
    *_, tall, wide = side_by_side(inputs.images[:1]).shape
    caption, header = 0.3, 0.42  # inches
    # The shorter side of a picture has the same length for every format, up to four times as long.
    cell_height, cell_width = (0.78 * min(4, max(1, ratio)) for ratio in (tall / wide, wide / tall))
    in_a_row = round(_COLUMNS * 0.78 / cell_width)
    count = min(_ROWS * in_a_row, max(1, len(ranking) // 2))
    columns = min(in_a_row, count)
    rows = -(-count // columns)
    height = 2 * (rows * (cell_height + caption) + header)
    description = f"{first.title}, {UNITS[first.name]}"
    if inputs.is_anomaly is not None and inputs.is_anomaly.any():
        description += "; framed: known anomalies"
    # A bold character takes less than 0.09 inches.
    width = max(0.09 * len(f"Least anomalous: {description}"), columns * cell_width) + 0.2
    figure = new_figure(width, height)
    blocks = (("Most anomalous", ranking[:count]), ("Least anomalous", ranking.flip(0)[:count]))
    top = height
    for name, indices in blocks:
        figure.text(
            0.1 / width, (top - 0.25) / height, f"{name}: {description}",
            fontsize=10, weight="bold",
        )  # fmt: skip
        top -= header
        for number, index in enumerate(indices.tolist()):
            row, column = divmod(number, columns)
            left = 0.1 + column * cell_width
            bottom = top - (row + 1) * (cell_height + caption) + caption
            axes = figure.add_axes(
                (
                    left / width,
                    bottom / height,
                    (cell_width - 0.08) / width,
                    (cell_height - 0.08) / height,
                ),
                xticks=[], yticks=[],
            )  # fmt: skip
            picture = side_by_side(inputs.images[index][None])[0].permute(1, 2, 0).numpy()
            axes.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture,
                        cmap="gray", vmin=0, vmax=255)  # fmt: skip
            known = inputs.is_anomaly is not None and bool(inputs.is_anomaly[index])
            axes.spines[:].set(color=_ANOMALY if known else "0.5", linewidth=2.5 if known else 0.5)
            axes.set_xlabel(
                f"{first.values[index]:.1f}\n{_shortened(inputs.names[index])}",
                fontsize=5.5, labelpad=2,
            )  # fmt: skip
        top -= rows * (cell_height + caption)
    return to_image(figure)


def _shortened(name: str) -> str:
    # The end says more than the folders before it.
    return name if len(name) <= _MAX_NAME else f"...{name[3 - _MAX_NAME :]}"


def histogram(result: DetectionResult) -> Tensor:
    """Histograms of the first score, of validation images, normal images and anomalies.

    Shape:
        returns uint8 (3, H, W).
    """
    inputs, first = result.inputs, result.scores[0]
    groups = [("validation", _VALIDATION, first.validation)]
    if inputs.is_anomaly is None:
        groups.append(("images", _NORMAL, first.values))
    else:
        groups.append(("normal", _NORMAL, first.values[~inputs.is_anomaly]))
        groups.append(("anomalies", _ANOMALY, first.values[inputs.is_anomaly]))
    groups = [group for group in groups if len(group[2])]
    all_values = torch.cat([values for _, _, values in groups])
    # Without the upper limit, a few outliers would squeeze the rest into one bar.
    low, high = all_values.min().item(), max(all_values.quantile(0.995).item(), first.threshold)
    high += 0.05 * (high - low) or 1.0
    figure = new_figure(7, 3.6)
    figure.subplots_adjust(left=0.05, right=0.98, bottom=0.14, top=0.9)
    axes = figure.subplots()
    bins = max(12, min(60, min(len(values) for _, _, values in groups) // 3))
    for name, colour, values in groups:
        axes.hist(
            values.clamp(low, high).numpy(), bins=bins, range=(low, high), density=True,
            histtype="stepfilled", color=colour, alpha=0.45, label=f"{len(values):,} {name}",
        )  # fmt: skip
    axes.axvline(first.threshold, color="black", linewidth=1, linestyle="--")
    axes.annotate(
        "threshold", (first.threshold, 0.97), xycoords=("data", "axes fraction"), fontsize=8,
        xytext=(4, 0), textcoords="offset points", va="top",
    )  # fmt: skip
    axes.set(
        xlabel=f"{first.title}, {UNITS[first.name]}; the last bar includes larger ones",
        ylabel="density", yticks=[], xlim=(low, high),
    )  # fmt: skip
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    return to_image(figure)


def curves(result: DetectionResult) -> Tensor | None:
    """ROC and precision-recall curves; None unless anomalies and normal images are known.

    Shape:
        returns uint8 (3, H, W).
    """
    from sklearn.metrics import precision_recall_curve, roc_curve

    is_anomaly = result.inputs.is_anomaly
    if is_anomaly is None or result.scores[0].metrics is None:
        return None
    figure = new_figure(9.5, 4.4)
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.13, top=0.92, wspace=0.22)
    roc, pr = figure.subplots(1, 2)
    for number, score in enumerate(result.scores):
        if score.metrics is None:
            continue
        name, colour = score.title, f"C{number}"
        false, true, _ = roc_curve(is_anomaly.numpy(), score.values.numpy())
        roc.plot(false, true, color=colour, label=f"{name}: {score.metrics.auroc:.3f}")
        at = (score.metrics.false_positive_rate, score.metrics.true_positive_rate)
        roc.plot(*at, "o", color=colour, markersize=5)
        precision, recall, _ = precision_recall_curve(is_anomaly.numpy(), score.values.numpy())
        # scikit-learn appends a point at recall 0 that belongs to no threshold.
        pr.plot(recall[:-1], precision[:-1], color=colour,
                label=f"{name}: {score.metrics.auprc:.3f}")  # fmt: skip
    roc.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="random: 0.5")
    base = result.base_rate or 0.0
    pr.axhline(base, color="0.6", linestyle=":", label=f"random: {base:.3f}")
    roc.set(title="ROC; the dots are at the threshold", xlabel="false positive rate",
            ylabel="true positive rate")  # fmt: skip
    pr.set(title="Precision and recall of anomalies", xlabel="recall", ylabel="precision")
    for axes in (roc, pr):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92")
        axes.legend(fontsize=8, loc="best", framealpha=0.85, edgecolor="none")
    return to_image(figure)
