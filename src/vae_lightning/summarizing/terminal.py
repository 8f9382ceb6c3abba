"""The leaderboard on the screen."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vae_lightning.cli.paths import relative
from vae_lightning.summarizing.cells import (
    columns,
    metric_cells,
    names,
    notes,
    row_texts,
    run_text,
    shortened,
    time_cell,
)
from vae_lightning.summarizing.leaderboard import (
    Group,
    Leaderboard,
    Row,
    protocol_text,
)
from vae_lightning.summarizing.metric_names import unit
from vae_lightning.summarizing.values import ABSENT, shown

# More are in the files.
_MOST_ROWS = 20
_MOST_LEFT_OUT = 10
# What values are shortened to, the first that fits.
_VALUE_WIDTHS = range(40, 7, -1)
# The room that a setting in one column takes at least.
_SETTING_WIDTH = 11
# What a column takes beside its text.
_RULE = 3


def print_leaderboard(board: Leaderboard) -> None:
    """Print a table for each group of runs that can be compared, and the runs without a result."""
    console = Console(highlight=False)
    for group in board.groups:
        console.print()
        console.print(Text(protocol_text(group, board.groups), style="bold"))
        console.print()
        console.print(_table(console, board, group))
        _print_notes(console, board, group)
    if len(board.groups) > 1:
        console.print(
            f"\nThe {len(board.groups)} tables are not comparable with each other: their data, "
            "binarisation or bounds differ."
        )
    if board.left_out:
        total = len(board.left_out)
        console.print(f"\n[bold]without a result: {total} run{'s' if total > 1 else ''}[/]")
        for run in board.left_out[:_MOST_LEFT_OUT]:
            console.print(Text(f"  {relative(run.folder)}: {run.problem}"), soft_wrap=True)
            console.print(Text(f"    {run_text(run, board.keys)}"), soft_wrap=True)
        _print_more(console, total - _MOST_LEFT_OUT, "run")


def print_skipped(lines: Sequence[str]) -> None:
    """Print which files could not be read."""
    for line in lines:
        print(f"warning: {line}", file=sys.stderr)


def print_files(files: Sequence[Path]) -> None:
    """Print where the files are."""
    for file in files:
        print(f"wrote  {relative(file)}")


def _table(console: Console, board: Leaderboard, group: Group) -> Table:
    rows, keys = group.rows[:_MOST_ROWS], group.keys
    times = [time_cell(row) for row in rows]
    left = console.width + _RULE - _width(["*"]) - _width(["runs"]) - _width(["time", *times])
    metrics = {tag: metric_cells(rows, tag) for tag in columns(board, group)}
    left -= _width([board.metric, *metrics[board.metric]])
    settings, lines = _key_columns(rows, keys, left), False
    if settings is None:
        width = max(left, _SETTING_WIDTH) - _RULE
        texts = [" ".join(shortened(text, width) for text in row_texts(row, keys)) for row in rows]
        settings, lines = {"setting": texts}, any(len(text) > width for text in texts)
        left = 0
    left -= sum(_width([name, *texts]) for name, texts in settings.items())
    for tag, cells in list(metrics.items())[1:]:
        left -= _width([tag, *cells])
        if left < 0:
            del metrics[tag]
    table = Table(show_edge=False, pad_edge=False, show_lines=lines)
    table.add_column("", no_wrap=True)
    for name in settings:
        table.add_column(name, no_wrap=not lines)
    for name in ("runs", *metrics, "time"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for number, row in enumerate(rows):
        table.add_row(
            "*" if number == 0 else "",
            *(Text(texts[number]) for texts in settings.values()),
            str(len(row.runs)),
            *(cells[number] for cells in metrics.values()),
            times[number],
            style="bold" if number == 0 else "",
        )
    return table


def _key_columns(
    rows: Sequence[Row], keys: Sequence[str], width: int
) -> dict[str, list[str]] | None:
    """The values of each key by its name, shortened to fit if that keeps them apart; else None."""
    if not keys:
        return {"setting": ["all runs"] * len(rows)}
    full = {
        name: ["" if (x := row.setting[key]) is ABSENT else shown(x) for row in rows]
        for key, name in names(keys).items()
    }
    for limit in _VALUE_WIDTHS:
        found = {name: [shortened(x, limit) for x in texts] for name, texts in full.items()}
        fits = sum(_width([name, *texts]) for name, texts in found.items()) <= width
        if fits and all(len(set(found[name])) == len(set(full[name])) for name in full):
            return found
    return None


def _width(texts: Sequence[str]) -> int:
    """What a column takes, with the rule beside it."""
    return max(map(len, texts)) + _RULE


def _print_notes(console: Console, board: Leaderboard, group: Group) -> None:
    _print_more(console, len(group.rows) - _MOST_ROWS, "row")
    metric = board.metric
    in_unit = f", in {unit(metric)}" if unit(metric) else ""
    if any(len(row.runs) > 1 for row in group.rows):
        console.print(f"\n* best {metric}{in_unit}; mean ± standard deviation over runs")
    else:
        console.print(f"\n* best {metric}{in_unit}")
    for sentence in notes(board, group):
        console.print(Text(sentence))
    if checkpoint := group.rows[0].checkpoint:
        console.print(f"best  {relative(checkpoint)}", soft_wrap=True)


def _print_more(console: Console, count: int, name: str) -> None:
    if count > 0:
        console.print(f"  and {count:,} more {name}{'s' if count > 1 else ''} in summary.md")
