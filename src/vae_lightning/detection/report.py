"""What a detection leaves: a list of the images, its figures, its pictures, a table."""

import csv
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vae_lightning.cli.paths import relative
from vae_lightning.detection.pictures import curves, extremes, histogram
from vae_lightning.detection.results import Findings, Scored, facts_of
from vae_lightning.detection.scores import UNITS
from vae_lightning.drawing.grids import png

# Names of the most anomalous images that are printed.
_LISTED = 5


def write(folder: Path, findings: Findings) -> list[Path]:
    """Write all that a detection leaves.

    Returns:
        the files, the best to open first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "extremes": extremes(findings),
        "histogram": histogram(findings),
        "curves": curves(findings),
    }
    files = []
    for name, picture in pictures.items():
        if picture is not None:
            files.append(folder / f"{name}.png")
            files[-1].write_bytes(png(picture))
    files.append(folder / "scores.csv")
    write_list(files[-1], findings)
    files.append(folder / "detect.json")
    files[-1].write_text(json.dumps(facts_of(findings), indent=2) + "\n")
    return files


def write_list(file: Path, findings: Findings) -> None:
    """Write a line for each image, most anomalous first."""
    subjects, first = findings.subjects, findings.scored[0]
    flagged = first.flagged.tolist()
    truth = None if subjects.anomaly is None else subjects.anomaly.tolist()
    columns = {scored.name: scored.values.tolist() for scored in findings.scored}
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        known = [*(["label"] if truth else []), *(["class"] if subjects.classes else [])]
        writer.writerow(["rank", "name", "decision", *columns, *known])
        for rank, place in enumerate(first.order.tolist(), start=1):
            row: list[object] = [rank, subjects.names[place], _word(flagged[place])]
            row += [f"{values[place]:.6g}" for values in columns.values()]
            if truth:
                row.append(_word(truth[place]))
            if subjects.classes:
                row.append(subjects.classes[place])
            writer.writerow(row)


def show(findings: Findings, files: list[Path]) -> None:
    """Print what was found, and where it lies."""
    console = Console(highlight=False)
    protocol, first = findings.protocol, findings.scored[0]
    console.print(
        f"[bold]{len(findings.subjects.images):,} images[/]: {findings.subjects.title} · "
        f"{relative(protocol['checkpoint'])}",
        soft_wrap=True,
    )
    known = first.quality is not None
    table = Table(show_edge=False)
    # Names of two words may take two lines, where the terminal is narrow.
    table.add_column("score", min_width=max(len(word) for word in _words(findings)))
    for name in ("AUROC", "AUPRC") if known else ():
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("threshold", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for name in ("FPR", "TPR") if known else ("anomalies",):
        table.add_column(name, justify="right", no_wrap=True)
    for scored in findings.scored:
        table.add_row(*_cells(scored))
    console.print()
    console.print(table)
    console.print(
        f"\nThe threshold takes {protocol['false_positive_rate_asked']:.3g} of the "
        f"{protocol['validation_images']:,} validation images for anomalies; "
        f"K = {protocol['num_samples']:,}, binarize={protocol['binarize']}.",
        soft_wrap=True,
    )
    if known:
        console.print(
            f"Positive are the anomalies, {protocol['anomalies']:,} of {protocol['images']:,}: "
            f"a guess has an AUPRC of {findings.base_rate:.3f} and an AUROC of 0.5. FPR and TPR: "
            "the shares of normal images and of anomalies above the threshold.",
            soft_wrap=True,
        )
    console.print(_most_anomalous(findings), soft_wrap=True)
    for file in files:
        console.print(f"wrote  {relative(file)}", soft_wrap=True)


def _cells(scored: Scored) -> list[str]:
    threshold = [f"{scored.threshold:.2f}", UNITS[scored.name]]
    name = scored.title
    if (found := scored.quality) is None:
        count = int(scored.flagged.sum())
        return [name, *threshold, f"{count:,} ({count / len(scored.values):.1%})"]
    areas = [f"{found.auroc:.3f}", f"{found.auprc:.3f}"]
    rates = [f"{found.false_positive_rate:.1%}", f"{found.true_positive_rate:.1%}"]
    return [name, *areas, *threshold, *rates]


def _most_anomalous(findings: Findings) -> str:
    first, names = findings.scored[0], findings.subjects.names
    shown = [
        f"{names[place]} ({first.values[place]:.1f})" for place in first.order[:_LISTED].tolist()
    ]
    return f"Most anomalous by {first.title}: {', '.join(shown)}"


def _word(anomaly: bool) -> str:
    return "anomaly" if anomaly else "normal"


def _words(findings: Findings) -> list[str]:
    return [word for scored in findings.scored for word in scored.name.split("_")]
