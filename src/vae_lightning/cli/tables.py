"""The tables that commands end with."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loaded by what prints
    from rich.table import Table


def value_table(rows: Iterable[tuple[str, str, str]], title: str = "") -> "Table":
    """A table of figures.

    Args:
        rows: name, value and unit of each.
        title: above the names.
    """
    from rich.table import Table

    table = Table(title, "value", "unit", show_edge=False)
    table.columns[1].justify = "right"
    for row in rows:
        table.add_row(*row)
    return table
