"""The pictures of a detection."""

import torch
from torch import Tensor

from vae_lightning.detection.results import Findings
from vae_lightning.detection.scores import UNITS
from vae_lightning.drawing.figures import new_figure, to_image

_ROWS, _COLUMNS = 3, 10
_NORMAL, _ANOMALY, _VALIDATION = "C0", "C3", "0.6"


def extremes(findings: Findings) -> Tensor:
    """The most and the least anomalous images, with their scores; framed red, known anomalies.

    Shape:
        returns uint8 (3, H, W).
    """
    subjects, first = findings.subjects, findings.scored[0]
    order = first.order
    count = min(_ROWS * _COLUMNS, max(1, len(order) // 2))
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    cell, line, head = 0.78, 0.2, 0.42
    height = 2 * (rows * (cell + line) + head)
    width = max(5.5, columns * cell + 0.2)
    figure = new_figure(width, height)
    what = f"{first.title}, {UNITS[first.name]}"
    if subjects.anomaly is not None and subjects.anomaly.any():
        what += "; framed: known anomalies"
    blocks = (("Most anomalous", order[:count]), ("Least anomalous", order.flip(0)[:count]))
    top = height
    for name, places in blocks:
        figure.text(
            0.1 / width, (top - 0.25) / height, f"{name}: {what}",
            fontsize=10, weight="bold",
        )  # fmt: skip
        top -= head
        for number, place in enumerate(places.tolist()):
            row, column = divmod(number, columns)
            left, bottom = 0.1 + column * cell, top - (row + 1) * (cell + line) + line
            inside = cell - 0.08
            axes = figure.add_axes(
                (left / width, bottom / height, inside / width, inside / height),
                xticks=[], yticks=[],
            )  # fmt: skip
            picture = subjects.images[place].permute(1, 2, 0).numpy()
            axes.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture,
                        cmap="gray", vmin=0, vmax=255)  # fmt: skip
            known = subjects.anomaly is not None and bool(subjects.anomaly[place])
            axes.spines[:].set(color=_ANOMALY if known else "0.5", linewidth=2.5 if known else 0.5)
            axes.set_xlabel(f"{first.values[place]:.1f}", fontsize=7, labelpad=2)
        top -= rows * (cell + line)
    return to_image(figure)


def histogram(findings: Findings) -> Tensor:
    """Where the first score of validation images, normal images and anomalies lies.

    Shape:
        returns uint8 (3, H, W).
    """
    subjects, first = findings.subjects, findings.scored[0]
    groups = [("validation", _VALIDATION, first.validation)]
    if subjects.anomaly is None:
        groups.append(("images", _NORMAL, first.values))
    else:
        groups.append(("normal", _NORMAL, first.values[~subjects.anomaly]))
        groups.append(("anomalies", _ANOMALY, first.values[subjects.anomaly]))
    groups = [group for group in groups if len(group[2])]
    both = torch.cat([values for _, _, values in groups])
    # A few images far away would leave the rest one bar.
    low, high = both.min().item(), max(both.quantile(0.995).item(), first.threshold)
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
        xlabel=f"{first.title}, {UNITS[first.name]}; the last bar: and beyond",
        ylabel="density", yticks=[], xlim=(low, high),
    )  # fmt: skip
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    return to_image(figure)


def curves(findings: Findings) -> Tensor | None:
    """Receiver operating characteristic, and precision over recall; None where no truth is known.

    Shape:
        returns uint8 (3, H, W).
    """
    from sklearn.metrics import precision_recall_curve, roc_curve

    anomaly = findings.subjects.anomaly
    if anomaly is None or findings.scored[0].quality is None:
        return None
    figure = new_figure(9.5, 4.4)
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.13, top=0.92, wspace=0.22)
    roc, pr = figure.subplots(1, 2)
    for number, scored in enumerate(findings.scored):
        if scored.quality is None:
            continue
        name, colour = scored.title, f"C{number}"
        false, true, _ = roc_curve(anomaly.numpy(), scored.values.numpy())
        roc.plot(false, true, color=colour, label=f"{name}: {scored.quality.auroc:.3f}")
        at = (scored.quality.false_positive_rate, scored.quality.true_positive_rate)
        roc.plot(*at, "o", color=colour, markersize=5)
        precision, recall, _ = precision_recall_curve(anomaly.numpy(), scored.values.numpy())
        # The last point, at recall 0, is made up.
        pr.plot(recall[:-1], precision[:-1], color=colour,
                label=f"{name}: {scored.quality.auprc:.3f}")  # fmt: skip
    roc.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="a guess: 0.5")
    base = findings.base_rate or 0.0
    pr.axhline(base, color="0.6", linestyle=":", label=f"a guess: {base:.3f}")
    roc.set(title="ROC; the dots are at the threshold", xlabel="false positive rate",
            ylabel="true positive rate")  # fmt: skip
    pr.set(title="Precision and recall of anomalies", xlabel="recall", ylabel="precision")
    for axes in (roc, pr):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92")
        axes.legend(fontsize=8, loc="best", framealpha=0.85, edgecolor="none")
    return to_image(figure)
