"""Detection over the jobs of a multirun: a table over the classes held out and the seeds."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from vae_lightning.checkpoint import Checkpoint
from vae_lightning.cli.paths import relative
from vae_lightning.config.hyperparameters import hyperparameters
from vae_lightning.detection.results import DetectionResult
from vae_lightning.errors import ConfigError
from vae_lightning.summarizing.runs import runs_below

_AREAS = ("auroc", "auprc")
# Keys in which the jobs of one table may differ.
_VARIED = ("seed", "data.held_out")


def find_jobs(path: str | None) -> tuple[list[Path], list[Path]]:
    """The jobs of a multirun: those that have finished, and the others.

    Args:
        path: the folder of a multirun; no jobs are found in anything else.
    """
    runs = runs_below(path) if isinstance(path, str) else []
    finished = [run.folder for run in runs if run.problem is None]
    return finished, [run.folder for run in runs if run.problem is not None]


def check_jobs(
    jobs: Sequence[Path], checkpoints: Sequence[Checkpoint], against: str | None
) -> None:
    """Check that the runs can be put into one table.

    Raises:
        ConfigError: they differ in more than the seed and the held-out classes, or have neither
            held-out classes nor another data set as anomalies.
    """
    first = None
    for job, checkpoint in zip(jobs, checkpoints, strict=True):
        config = checkpoint.config
        if against is None and not config["data"]["held_out"]:
            raise ConfigError(
                f"{job} held no class out of training, so its test split has no anomalies: "
                "set against to another data set"
            )
        kept = hyperparameters(config)
        kept = {key: value for key, value in kept.items() if key not in _VARIED}
        first = first or kept
        for key in sorted(first.keys() | kept.keys()):
            if first.get(key) != kept.get(key):
                raise ConfigError(
                    f"{job} was trained with {key}={kept.get(key)} and {jobs[0].name} with "
                    f"{first.get(key)}: only the held-out classes and the seed may differ"
                )


@dataclass(frozen=True)
class TableRow:
    """Metrics of one score on one kind of anomaly, over training seeds.

    Attributes:
        anomaly: the held-out classes, or the data set of the anomalies.
        score: the name of the score.
        seeds: of the runs.
        base_rate: the fraction of anomalies, which is the AUPRC of random scores.
        auroc, auprc: of each run.
    """

    anomaly: str
    score: str
    seeds: Sequence[int]
    base_rate: float
    auroc: Sequence[float]
    auprc: Sequence[float]


def table_rows(results: Sequence[DetectionResult], against: str | None) -> list[TableRow]:
    """Group the runs by anomaly; the rows of one score follow each other."""
    groups: dict[tuple[int, str], list[DetectionResult]] = defaultdict(list)
    names = [score.name for score in results[0].scores]
    for result in results:
        anomaly = against or ", ".join(map(str, result.protocol["held_out"]))
        for number in range(len(names)):
            groups[number, anomaly].append(result)
    rows = []
    for number, anomaly in sorted(groups):
        runs = groups[number, anomaly]
        metrics = [found for run in runs if (found := run.scores[number].metrics)]
        rows.append(
            TableRow(
                anomaly=anomaly,
                score=names[number],
                seeds=[run.protocol["training_seed"] for run in runs],
                base_rate=runs[0].base_rate or 0.0,
                auroc=[found.auroc for found in metrics],
                auprc=[found.auprc for found in metrics],
            )
        )
    return rows


def rows_summary(rows: Sequence[TableRow]) -> list[dict[str, Any]]:
    """The rows of `table.json`, with means and standard deviations."""
    return [
        {
            "anomaly": row.anomaly,
            "score": row.score,
            "seeds": list(row.seeds),
            "base_rate": row.base_rate,
            **{
                area: {
                    "mean": mean(getattr(row, area)),
                    "standard_deviation": _deviation(getattr(row, area)),
                    "runs": list(getattr(row, area)),
                }
                for area in _AREAS
            },
        }
        for row in rows
    ]


def table_cells(rows: Sequence[TableRow], area: str) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table: one row for each anomaly, and their mean.

    Args:
        rows: of all scores.
        area: `auroc` or `auprc`.
    """
    scores = list(dict.fromkeys(row.score for row in rows))
    lines = []
    for anomaly in dict.fromkeys(row.anomaly for row in rows):
        own = [row for row in rows if row.anomaly == anomaly]
        line = [anomaly, f"{own[0].base_rate:.3f}", str(len(own[0].seeds))]
        lines.append(line + [_mean_and_deviation(getattr(row, area)) for row in own])
    if len(lines) > 1:
        columns = [[row for row in rows if row.score == score] for score in scores]
        means = [f"{mean(mean(getattr(row, area)) for row in column):.3f}" for column in columns]
        lines.append(["mean", f"{mean(row.base_rate for row in columns[0]):.3f}", "", *means])
    return ["anomaly", "share", "seeds", *(score.replace("_", " ") for score in scores)], lines


def write_table(folder: Path, rows: Sequence[TableRow], protocols: Sequence[Any]) -> list[Path]:
    """Write `table.md` and `table.json`."""
    text = ""
    for area in _AREAS:
        header, lines = table_cells(rows, area)
        table = [header, ["---"] * len(header), *lines]
        text += f"{area.upper()}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in table)
        text += "\n"
    (folder / "table.md").write_text(text + explanation(protocols[0]) + "\n", encoding="utf-8")
    facts = {"positive_class": "anomaly", "rows": rows_summary(rows), "protocols": list(protocols)}
    (folder / "table.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return [folder / "table.md", folder / "table.json"]


def explanation(protocol: Any) -> str:
    """A caption for the tables."""
    return (
        "The positive class are the anomalies; share is their fraction of the images, the AUPRC of "
        f"random scores. Mean and standard deviation over training seeds. {protocol['data']}, "
        f"K = {protocol['num_samples']:,}, binarize={protocol['binarize']}."
    )


def print_table(rows: Sequence[TableRow], protocols: Sequence[Any], files: Sequence[Path]) -> None:
    """Print the tables and the names of their files."""
    console = Console(highlight=False)
    for score in dict.fromkeys(row.score for row in rows):
        own = [row for row in rows if row.score == score]
        header, lines = table_cells(own, _AREAS[0])
        table = Table(show_edge=False, title=f"\n{header[-1]}", title_justify="left")
        for name in (*header[:-1], *(area.upper() for area in _AREAS)):
            table.add_column(name, justify="left" if name == header[0] else "right")
        for line, further in zip(lines, table_cells(own, _AREAS[1])[1], strict=True):
            table.add_row(*line, further[-1], end_section=len(lines) > 1 and line is lines[-2])
        console.print(table)
    console.print(f"\n{explanation(protocols[0])}", soft_wrap=True)
    for file in files:
        console.print(f"wrote  {relative(file)}", soft_wrap=True)


def _mean_and_deviation(values: Sequence[float]) -> str:
    spread = _deviation(values)
    return f"{mean(values):.3f}" + ("" if spread is None else f" ± {spread:.3f}")


def _deviation(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None
