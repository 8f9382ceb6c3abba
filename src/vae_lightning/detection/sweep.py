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
from vae_lightning.detection.results import Findings
from vae_lightning.errors import ConfigError

_AREAS = ("auroc", "auprc")
# What the jobs of one table may differ in.
_VARIED = ("seed", "data.held_out")


def jobs_of(path: str | None) -> tuple[list[Path], list[Path]]:
    """The runs below the folder of a multirun: those that are finished, and the others.

    Args:
        path: of the folder; of anything else there are none.
    """
    folder = Path(path) if isinstance(path, str) else Path()
    if path is None or not folder.is_dir() or (folder / "checkpoints").is_dir():
        return [], []
    jobs = sorted((job.parent for job in folder.glob("*/checkpoints")), key=_number)
    done = [job for job in jobs if (job / "metrics.json").is_file()]
    return done, [job for job in jobs if job not in done]


def check_jobs(
    jobs: Sequence[Path], checkpoints: Sequence[Checkpoint], against: str | None
) -> None:
    """Refuse runs that do not belong in one table.

    Raises:
        ConfigError: they differ in more than the seed and the classes held out.
    """
    first = None
    for job, checkpoint in zip(jobs, checkpoints, strict=True):
        config = checkpoint.config
        if against is None and not config["data"]["held_out"]:
            raise ConfigError(
                f"{job} held no class out of training, so that its test split has no anomalies: "
                "set against to another data set"
            )
        kept = hyperparameters(config)
        kept = {key: value for key, value in kept.items() if key not in _VARIED}
        first = first or kept
        for key in sorted(first.keys() | kept.keys()):
            if first.get(key) != kept.get(key):
                raise ConfigError(
                    f"{job} was trained with {key}={kept.get(key)} and {jobs[0].name} with "
                    f"{first.get(key)}: a table is over classes held out and seeds alone"
                )


@dataclass(frozen=True)
class Row:
    """What one score reaches on one kind of anomaly, over training seeds.

    Attributes:
        anomaly: the class or data set that is found.
        score: its name.
        seeds: of the runs.
        base_rate: the share of anomalies, what a guess has for AUPRC.
        auroc, auprc: of each run.
    """

    anomaly: str
    score: str
    seeds: Sequence[int]
    base_rate: float
    auroc: Sequence[float]
    auprc: Sequence[float]


def rows_of(findings: Sequence[Findings], against: str | None) -> list[Row]:
    """Gather the runs by what is found, score after score."""
    groups: dict[tuple[int, str], list[Findings]] = defaultdict(list)
    names = [scored.name for scored in findings[0].scored]
    for found in findings:
        anomaly = against or ", ".join(map(str, found.protocol["held_out"]))
        for number in range(len(names)):
            groups[number, anomaly].append(found)
    rows = []
    for number, anomaly in sorted(groups):
        runs = groups[number, anomaly]
        qualities = [quality for run in runs if (quality := run.scored[number].quality)]
        rows.append(
            Row(
                anomaly=anomaly,
                score=names[number],
                seeds=[run.protocol["training_seed"] for run in runs],
                base_rate=runs[0].base_rate or 0.0,
                auroc=[quality.auroc for quality in qualities],
                auprc=[quality.auprc for quality in qualities],
            )
        )
    return rows


def facts_of_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as plain values, with means and deviations."""
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


def cells_of(rows: Sequence[Row], area: str) -> tuple[list[str], list[list[str]]]:
    """The head and the lines of a table: an anomaly a line, the mean over them last.

    Args:
        rows: of all scores.
        area: `auroc` or `auprc`.
    """
    scores = list(dict.fromkeys(row.score for row in rows))
    lines = []
    for anomaly in dict.fromkeys(row.anomaly for row in rows):
        own = [row for row in rows if row.anomaly == anomaly]
        line = [anomaly, f"{own[0].base_rate:.3f}", str(len(own[0].seeds))]
        lines.append(line + [_shown(getattr(row, area)) for row in own])
    if len(lines) > 1:
        columns = [[row for row in rows if row.score == score] for score in scores]
        means = [f"{mean(mean(getattr(row, area)) for row in column):.3f}" for column in columns]
        lines.append(["mean", f"{mean(row.base_rate for row in columns[0]):.3f}", "", *means])
    return ["anomaly", "share", "seeds", *(score.replace("_", " ") for score in scores)], lines


def write_table(folder: Path, rows: Sequence[Row], protocols: Sequence[Any]) -> list[Path]:
    """Write `table.md` and `table.json`."""
    text = ""
    for area in _AREAS:
        head, lines = cells_of(rows, area)
        marked = [head, ["---"] * len(head), *lines]
        text += f"{area.upper()}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in marked)
        text += "\n"
    (folder / "table.md").write_text(text + explanation(protocols[0]) + "\n")
    facts = {"positive_class": "anomaly", "rows": facts_of_rows(rows), "protocols": list(protocols)}
    (folder / "table.json").write_text(json.dumps(facts, indent=2) + "\n")
    return [folder / "table.md", folder / "table.json"]


def explanation(protocol: Any) -> str:
    """How the tables are to be read."""
    return (
        "Positive are the anomalies; their share of the images is the AUPRC of a guess. Mean and "
        f"standard deviation over training seeds. {protocol['data']}, "
        f"K = {protocol['num_samples']:,}, binarize={protocol['binarize']}."
    )


def show_table(rows: Sequence[Row], protocols: Sequence[Any], files: Sequence[Path]) -> None:
    """Print the tables, and where they lie."""
    console = Console(highlight=False)
    for score in dict.fromkeys(row.score for row in rows):
        own = [row for row in rows if row.score == score]
        head, lines = cells_of(own, _AREAS[0])
        table = Table(show_edge=False, title=f"\n{head[-1]}", title_justify="left")
        for name in (*head[:-1], *(area.upper() for area in _AREAS)):
            table.add_column(name, justify="left" if name == head[0] else "right")
        for line, further in zip(lines, cells_of(own, _AREAS[1])[1], strict=True):
            table.add_row(*line, further[-1], end_section=len(lines) > 1 and line is lines[-2])
        console.print(table)
    console.print(f"\n{explanation(protocols[0])}", soft_wrap=True)
    for file in files:
        console.print(f"wrote  {relative(file)}", soft_wrap=True)


def _shown(values: Sequence[float]) -> str:
    spread = _deviation(values)
    return f"{mean(values):.3f}" + ("" if spread is None else f" ± {spread:.3f}")


def _deviation(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def _number(job: Path) -> tuple[int, str]:
    head = job.name.partition("_")[0]
    return (int(head) if head.isdecimal() else 10**9, job.name)
