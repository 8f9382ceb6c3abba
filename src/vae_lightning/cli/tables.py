"""The tables and lines that commands end with."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loaded by what prints
    from rich.table import Table


def value_table(rows: Iterable[tuple[str, str, str]], title: str = "") -> "Table":
    """A table of figures.

    On a narrow terminal only the units are wrapped.

    Args:
        rows: name, value and unit of each.
        title: above the names.
    """
    from rich.table import Table

    table = Table(title, "value", "unit", show_edge=False)
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    table.columns[1].justify = "right"
    for row in rows:
        table.add_row(*row)
    return table


def show_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print a line for each fact: a label of at most ten characters, and a text beside it.

    An empty label goes on with the one above.
    """
    for label, text in facts:
        print(f"{label:<12}{text}")
