"""`summary.csv`, `summary.json` and `summary.md`."""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vae_lightning.config.guesses import as_written
from vae_lightning.summarizing.cells import (
    columns,
    from_folder,
    metric_cells,
    notes,
    row_texts,
    run_text,
    time_cell,
)
from vae_lightning.summarizing.leaderboard import (
    Group,
    Leaderboard,
    Row,
    protocol_text,
)
from vae_lightning.summarizing.metric_names import lower_is_better, unit
from vae_lightning.summarizing.runs import RunRecord
from vae_lightning.summarizing.values import ABSENT, shown


def write_files(folder: Path, board: Leaderboard, pictures: Sequence[Path] = ()) -> list[Path]:
    """Write the three files; paths inside of their folder are relative to it.

    Args:
        folder: where they go.
        board: all of it.
        pictures: that `summary.md` shows.
    """
    files = [folder / f"summary.{ending}" for ending in ("md", "csv", "json")]
    files[0].write_text(_markdown(folder, board, pictures), encoding="utf-8")
    with files[1].open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(_lines(folder, board))
    content = json.dumps(_facts(folder, board), indent=2)
    files[2].write_text(content + "\n", encoding="utf-8")
    return files


def _markdown(folder: Path, board: Leaderboard, pictures: Sequence[Path]) -> str:
    parts = []
    for group in board.groups:
        tags, keys = columns(board, group), group.keys
        lines = [["", "setting", "runs", *tags, "time", "checkpoint of the best run"]]
        lines.append(["---", "---", "---:", *["---:"] * len(tags), "---:", "---"])
        cells = {tag: metric_cells(group.rows, tag) for tag in tags}
        for number, row in enumerate(group.rows):
            lines.append(
                [
                    "" if number else "**best**",
                    " ".join(f"`{text}`" for text in row_texts(row, keys)),
                    str(len(row.runs)),
                    *(cells[tag][number] for tag in tags),
                    time_cell(row),
                    f"`{from_folder(row.checkpoint, folder)}`" if row.checkpoint else "",
                ]
            )
        parts.append(f"## {protocol_text(group, board.groups)}")
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        in_unit = f" ({unit(board.metric)})" if unit(board.metric) else ""
        order = f"Sorted by {board.metric}{in_unit}; mean ± standard deviation over runs."
        parts.append(" ".join([order, *notes(board, group)]))
    if len(board.groups) > 1:
        parts.append("The tables are not comparable with each other.")
    if board.left_out:
        parts.append("## Runs without a result")
        parts.append(
            "\n".join(
                f"- `{from_folder(run.folder, folder)}` {run_text(run, board.keys)}: {run.problem}"
                for run in board.left_out
            )
        )
    parts += [f"![{file.stem}]({file.name})" for file in pictures]
    return "\n\n".join(parts) + "\n"


def _lines(folder: Path, board: Leaderboard) -> list[list[Any]]:
    """A line for each row of each group; cells of metrics that a row does not have are empty."""
    tags = sorted({tag for group in board.groups for tag in group.tags})
    statistics = [f"{tag} {name}" for tag in tags for name in ("mean", "std", "runs")]
    keys = [as_written(key) for key in board.keys]
    head = ["group", "rank", *keys, "data", "binarize", "bound", "runs", "seeds"]
    lines: list[list[Any]] = [[*head, *statistics, "checkpoint"]]
    for number, group in enumerate(board.groups, start=1):
        for rank, row in enumerate(group.rows, start=1):
            setting = ["" if x is ABSENT else shown(x) for x in row.setting.values()]
            facts = [group.protocol.get(name) for name in ("data", "binarize", "bound")]
            seeds = " ".join(shown(run.seed) for run in row.runs)
            line = [number, rank, *setting, *facts, len(row.runs), seeds]
            for tag in tags:
                found = row.statistic(tag)
                line += [found.mean, found.deviation, found.count] if found else ["", "", 0]
            lines.append([*line, from_folder(row.checkpoint, folder)])
    return lines


def _facts(folder: Path, board: Leaderboard) -> dict[str, Any]:
    return {
        "metric": board.metric,
        "lower_is_better": lower_is_better(board.metric),
        "keys": [as_written(key) for key in board.keys],
        "groups": [
            {
                "protocol": group.protocol,
                "notes": notes(board, group),
                "rows": [_row(folder, row, group) for row in group.rows],
            }
            for group in board.groups
        ],
        "without_result": [
            {**_run(folder, run), "setting": run_text(run, board.keys), "reason": run.problem}
            for run in board.left_out
        ],
    }


def _row(folder: Path, row: Row, group: Group) -> dict[str, Any]:
    statistics = {tag: found for tag in group.tags if (found := row.statistic(tag))}
    return {
        "best": row is group.rows[0],
        "setting": {as_written(key): x for key, x in row.setting.items() if x is not ABSENT},
        "metrics": {
            tag: {"mean": x.mean, "standard_deviation": x.deviation, "runs": x.count}
            for tag, x in statistics.items()
        },
        "checkpoint": from_folder(row.checkpoint, folder) or None,
        "runs": [_run(folder, run) for run in row.runs],
    }


def _run(folder: Path, run: RunRecord) -> dict[str, Any]:
    # JSON has no word for a number that is none.
    metrics = {tag: x if math.isfinite(x) else None for tag, x in run.metrics.items()}
    return {"folder": from_folder(run.folder, folder), "seed": run.seed, "metrics": metrics}
