"""Pictures of a leaderboard: training curves, rate and distortion, a metric against each key."""

from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from vae_lightning.config.guesses import as_written
from vae_lightning.summarizing.cells import names
from vae_lightning.summarizing.curves import curve
from vae_lightning.summarizing.leaderboard import Group, Leaderboard, Row
from vae_lightning.summarizing.metric_names import with_unit
from vae_lightning.summarizing.plotting import (
    COLOURS,
    GREY,
    add_legend,
    colours_of,
    name_rows,
    new_axes,
    set_values,
    short_name,
)
from vae_lightning.summarizing.values import is_number, label, same, shown

if TYPE_CHECKING:  # loaded by the functions that draw
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_KEYS = 8
# The first epochs, far from the others, are cut off in longer runs.
_LONG = 10


def draw_pictures(folder: Path, board: Leaderboard) -> list[Path]:
    """Draw the pictures of each group that has several runs, as PNG files `summary_...`.

    Args:
        folder: where they go.
        board: all of it; the pictures of its second group end in `_2`, and so on.
    """
    files = []
    for number, group in enumerate(board.groups, start=1):
        if len(group.runs) < 2:
            continue
        pictures = {"curves": _curves(board, group), "rate_distortion": _rate_distortion(group)}
        differing = group.keys if len(group.rows) > 1 else []
        for key, name in list(names(differing).items())[:_MOST_KEYS]:
            pictures[name.replace("/", "_").replace(".", "_")] = _against(board, group, key)
        for name, figure in pictures.items():
            if figure is not None:
                ending = "" if number == 1 else f"_{number}"
                files.append(folder / f"summary_{name}{ending}.png")
                figure.savefig(files[-1], dpi=120)
    return files


def _curves(board: Leaderboard, group: Group) -> "Figure | None":
    """A line for each row, with a band of a standard deviation over its runs."""
    tag = board.metric if board.metric.startswith("val/") else "val/elbo"
    means: list[tuple[int, list[float], list[float], list[float]]] = []
    for number, row in enumerate(group.rows):
        points: dict[float, list[float]] = defaultdict(list)
        for run in row.runs:
            for epoch, value in curve(run.folder, tag):
                points[round(epoch, 3)].append(value)
        if points:
            epochs = sorted(points)
            middle = [mean(points[epoch]) for epoch in epochs]
            spread = [stdev(x) if len(x := points[epoch]) > 1 else 0.0 for epoch in epochs]
            means.append((number, epochs, middle, spread))
    if not means:
        return None
    figure, axes = new_axes()
    colours = colours_of(group)
    for number, epochs, middle, spread in reversed(means):  # the best on top
        marker = "o" if len(epochs) < _LONG else ""
        axes.plot(epochs, middle, marker=marker, ms=3, lw=1.5, color=colours[number])
        low = [x - y for x, y in zip(middle, spread, strict=True)]
        high = [x + y for x, y in zip(middle, spread, strict=True)]
        axes.fill_between(epochs, low, high, color=colours[number], alpha=0.2, lw=0)
    if max(len(epochs) for _, epochs, _, _ in means) >= _LONG:
        later = [x for _, epochs, middle, _ in means for x in middle[len(epochs) // _LONG :]]
        room = 0.05 * (max(later) - min(later)) or 1.0
        axes.set_ylim(min(later) - room, max(later) + room)
    axes.set(xlabel="epoch", ylabel=with_unit(tag))
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    name_rows(figure, axes, group)
    return figure


def _rate_distortion(group: Group) -> "Figure | None":
    """A point for each run; on a dashed line, all runs have the same elbo."""
    for stage in ("test", "val"):
        if {f"{stage}/rate", f"{stage}/distortion"} <= set(group.tags):
            break
    else:
        return None
    rate, distortion = f"{stage}/rate", f"{stage}/distortion"
    figure, axes = new_axes()
    colours = colours_of(group)
    points = []
    for row, colour in reversed(list(zip(group.rows, colours, strict=True))):
        own = [
            (run.metrics[rate], run.metrics[distortion])
            for run in row.runs
            if rate in run.metrics and distortion in run.metrics
        ]
        if own:
            axes.plot(*zip(*own, strict=True), "o", ms=6, color=colour, alpha=0.8, mew=0)
        points += own
    axes.margins(0.12)
    _lines_of_equal_elbo(axes)
    axes.set(xlabel=with_unit(rate), ylabel=with_unit(distortion))
    name_rows(figure, axes, group)
    return figure


def _lines_of_equal_elbo(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    for total in MaxNLocator(6).tick_values(left + bottom, right + top):
        if not left + bottom < total < right + top:
            continue
        axes.plot([left, right], [total - left, total - right], "--", color="0.8", lw=0.8, zorder=0)
        # At the upper or the left edge, where the line enters.
        start = (left, total - left) if total - left < top else (total - top, top)
        if start[1] - bottom < 0.05 * (top - bottom):
            continue
        name = f"elbo {-total:g}".replace("-", "\N{MINUS SIGN}")
        axes.annotate(
            name, start, (3, -3), textcoords="offset points", fontsize=7, color="0.5", va="top"
        )
    axes.set(xlim=(left, right), ylim=(bottom, top))


def _against(board: Leaderboard, group: Group, key: str) -> "Figure":
    """The metric against the values of a key, with a line for each setting of the other keys."""
    others = [other for other in group.keys if other != key]
    rows = [row for row in group.rows if same(row.setting[key]) != ""]
    numeric = all(is_number(row.setting[key]) for row in rows)
    ordered = sorted(rows, key=lambda row: row.setting[key] if numeric else shown(row.setting[key]))
    values = list(dict.fromkeys(shown(row.setting[key]) for row in ordered))
    lines: dict[str, list[Row]] = defaultdict(list)
    for row in rows:  # the best first
        setting = {other: row.setting[other] for other in others}
        lines[short_name(label(setting, names(others)))].append(row)
    figure, axes = new_axes()
    handles: list[Any] = []
    for number, (name, own) in reversed(list(enumerate(lines.items()))):
        colour = COLOURS[number] if number < len(COLOURS) else GREY
        spots = {
            row.setting[key] if numeric else values.index(shown(row.setting[key])): row
            for row in own
        }
        xs = sorted(spots)
        found = [spots[x].statistic(board.metric) for x in xs]
        means = [x.mean for x in found if x]
        bars = [x.deviation or 0.0 for x in found if x]
        style = "o-" if numeric else "o"
        shift = 0.0 if numeric else min(0.04, 0.8 / len(lines)) * (number - (len(lines) - 1) / 2)
        drawn = axes.errorbar(
            [x + shift for x in xs], means, bars, fmt=style, ms=5, capsize=3, color=colour,
            lw=1.2, label=name,
        )  # fmt: skip
        for x in xs:
            runs = [run.metrics[board.metric] for run in spots[x].runs]
            axes.plot([x + shift] * len(runs), runs, "_", ms=5, color=colour, alpha=0.6)
        if number < len(COLOURS):
            handles.insert(0, drawn)
    set_values(axes, [row.setting[key] for row in ordered] if numeric else [], values)
    axes.set(xlabel=as_written(key), ylabel=with_unit(board.metric))
    if others:
        add_legend(figure, axes, handles, len(lines))
    figure.set_layout_engine("tight")
    return figure
