"""Axes, colours and legends of the pictures of a leaderboard."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vae_lightning.summarizing.cells import row_texts, shortened
from vae_lightning.summarizing.leaderboard import Group
from vae_lightning.summarizing.values import is_number, shown

if TYPE_CHECKING:  # loaded by the functions that draw
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Rows with a colour and a name of their own, the best ones; others are grey.
COLOURS = ["C0", "C1", "C2", "C3", "C4", "C5", "C6", "C8", "C9"]
GREY = "0.8"
_NAME_WIDTH = 36
_NAME_LINES = 3
# Values that span this much or more are shown on a logarithmic axis.
_LOGARITHMIC = 8
_WIDTH, _HEIGHT = 6.0, 4.2


def set_values(axes: "Axes", numbers: Sequence[Any], texts: Sequence[str]) -> None:
    """Set the horizontal axis of a key: linear or logarithmic for numbers, otherwise names.

    Args:
        axes: on which names are at 0, 1, 2 ...
        numbers: the values of the key; empty if they are no numbers.
        texts: the values as text.
    """
    if not numbers:
        slanted = sum(map(len, texts)) > 45
        axes.set_xticks(
            range(len(texts)),
            [shortened(text, 24) for text in texts],
            rotation=30 if slanted else 0,
            ha="right" if slanted else "center",
        )
        axes.set_xlim(-0.5, len(texts) - 0.5)
        return
    distinct = sorted(set(numbers))
    if distinct[0] > 0 and distinct[-1] / distinct[0] >= _LOGARITHMIC:
        axes.set_xscale("log")
    if len(distinct) <= 8:
        axes.set_xticks(distinct, [shown(x) for x in distinct])
        axes.minorticks_off()


def new_axes() -> "tuple[Figure, Axes]":
    """An empty figure, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    return figure, axes


def colours_of(group: Group) -> list[Any]:
    """A colour for each row; of one numeric key, from dark to light with its values."""
    from matplotlib import colormaps

    keys, rows = group.keys, group.rows
    named: list[Any] = COLOURS[: len(rows)]
    if len(keys) == 1 and all(is_number(row.setting[keys[0]]) for row in rows):
        order = sorted(range(len(named)), key=lambda number: rows[number].setting[keys[0]])
        for place, number in enumerate(order):
            named[number] = colormaps["viridis"](0.85 * place / max(len(named) - 1, 1))
    return named + [GREY] * (len(rows) - len(named))


def name_rows(figure: "Figure", axes: "Axes", group: Group) -> None:
    """Name the rows, the best first."""
    from matplotlib.lines import Line2D

    if len(group.rows) > 1:
        handles = []
        for row, colour in list(zip(group.rows, colours_of(group), strict=True))[: len(COLOURS)]:
            name = short_name(row_texts(row, group.keys))
            handles.append(Line2D([], [], color=colour, marker="o", ms=5, label=name))
        add_legend(figure, axes, handles, len(group.rows))
    figure.set_layout_engine("tight")


def add_legend(figure: "Figure", axes: "Axes", handles: list[Any], total: int) -> None:
    """Put a legend beside the axes, where it covers nothing."""
    from matplotlib.lines import Line2D

    if total > len(handles):
        name = f"{total - len(handles)} others"
        handles = [*handles, Line2D([], [], color=GREY, marker="o", ms=5, label=name)]
    lines = [line for handle in handles for line in str(handle.get_label()).splitlines()]
    figure.set_figwidth(_WIDTH + 0.5 + 0.075 * max(map(len, lines)))
    axes.legend(
        handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8
    )


def short_name(texts: Sequence[str]) -> str:
    """A setting in a few short lines."""
    parts = [shortened(text, _NAME_WIDTH) for text in texts]
    lines = textwrap.wrap(" ".join(parts), _NAME_WIDTH, break_on_hyphens=False)
    return "\n".join(lines[:_NAME_LINES]) + (" …" if len(lines) > _NAME_LINES else "")
