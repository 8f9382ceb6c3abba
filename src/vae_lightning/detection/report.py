"""The files and the printed table of a detection result."""

import csv
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vae_lightning.cli.paths import relative
from vae_lightning.detection.pictures import curves, extremes, histogram
from vae_lightning.detection.results import DetectionResult, ScoreResult, summary
from vae_lightning.detection.scores import UNITS
from vae_lightning.drawing.grids import png

# The most anomalous images whose names are printed.
_NUM_PRINTED = 5


def write_results(folder: Path, result: DetectionResult) -> list[Path]:
    """Write the figures, `scores.csv` and `detect.json`.

    Returns:
        the files; the first ones are the best to look at first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "extremes": extremes(result),
        "histogram": histogram(result),
        "curves": curves(result),
    }
    files = []
    for name, picture in pictures.items():
        if picture is not None:
            files.append(folder / f"{name}.png")
            files[-1].write_bytes(png(picture))
    files.append(folder / "scores.csv")
    write_scores(files[-1], result)
    files.append(folder / "detect.json")
    files[-1].write_text(json.dumps(summary(result), indent=2) + "\n", encoding="utf-8")
    return files


def write_scores(file: Path, result: DetectionResult) -> None:
    """Write a row for each image, most anomalous first."""
    inputs, first = result.inputs, result.scores[0]
    decisions = first.decisions.tolist()
    truth = None if inputs.is_anomaly is None else inputs.is_anomaly.tolist()
    columns = {score.name: score.values.tolist() for score in result.scores}
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        known = [*(["label"] if truth else []), *(["class"] if inputs.class_names else [])]
        writer.writerow(["rank", "name", "decision", *columns, *known])
        for rank, index in enumerate(first.ranking.tolist(), start=1):
            row: list[object] = [rank, inputs.names[index], _label(decisions[index])]
            row += [f"{values[index]:.6g}" for values in columns.values()]
            if truth:
                row.append(_label(truth[index]))
            if inputs.class_names:
                row.append(inputs.class_names[index])
            writer.writerow(row)


def print_report(result: DetectionResult, files: list[Path]) -> None:
    """Print the metrics of each score, the most anomalous images and the files."""
    console = Console(highlight=False)
    protocol, first = result.protocol, result.scores[0]
    console.print(
        f"[bold]{len(result.inputs.images):,} images[/]: {result.inputs.title} · "
        f"{relative(protocol['checkpoint'])}",
        soft_wrap=True,
    )
    has_metrics = first.metrics is not None
    table = Table(show_edge=False, pad_edge=False)
    # On a narrow terminal, names and units wrap between words.
    table.add_column("score", min_width=max(len(word) for word in _words(result)))
    for name in ("AUROC", "AUPRC") if has_metrics else ():
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("threshold", justify="right", min_width=len("deviations"))
    for name in ("FPR", "TPR") if has_metrics else ("anomalies",):
        table.add_column(name, justify="right", no_wrap=True)
    for score in result.scores:
        table.add_row(*_cells(score))
    console.print()
    console.print(table)
    console.print(
        f"\nAt most {protocol['false_positive_rate_asked']:.3g} of the "
        f"{protocol['validation_images']:,} validation images score above the threshold; "
        f"K = {protocol['num_samples']:,}, binarize={protocol['binarize']}.",
        soft_wrap=True,
    )
    if has_metrics:
        console.print(
            f"The positive class are the anomalies, {protocol['anomalies']:,} of "
            f"{protocol['images']:,}: random scores have an AUPRC of {result.base_rate:.3f} and an "
            "AUROC of 0.5. FPR and TPR are the fractions of normal images and of anomalies above "
            "the threshold.",
            soft_wrap=True,
        )
    console.print(_most_anomalous(result), soft_wrap=True)
    for file in files:
        console.print(f"wrote  {relative(file)}", soft_wrap=True)


def _cells(score: ScoreResult) -> list[str]:
    threshold = f"{score.threshold:.2f} {UNITS[score.name]}"
    if (metrics := score.metrics) is None:
        count = int(score.decisions.sum())
        return [score.title, threshold, f"{count:,} ({count / len(score.values):.1%})"]
    areas = [f"{metrics.auroc:.3f}", f"{metrics.auprc:.3f}"]
    rates = [f"{metrics.false_positive_rate:.1%}", f"{metrics.true_positive_rate:.1%}"]
    return [score.title, *areas, threshold, *rates]


def _most_anomalous(result: DetectionResult) -> str:
    first, names = result.scores[0], result.inputs.names
    top = [
        f"{names[index]} ({first.values[index]:.1f})"
        for index in first.ranking[:_NUM_PRINTED].tolist()
    ]
    return f"Most anomalous by {first.title}: {', '.join(top)}"


def _label(is_anomaly: bool) -> str:
    return "anomaly" if is_anomaly else "normal"


def _words(result: DetectionResult) -> list[str]:
    return [word for score in result.scores for word in score.name.split("_")]
