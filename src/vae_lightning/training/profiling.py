"""The profiler of `debug=profiler`."""

import re

from lightning.pytorch.profilers import SimpleProfiler
from rich.console import Console
from rich.markup import escape
from rich.table import Table


class TableProfiler(SimpleProfiler):
    """Lightning's SimpleProfiler, printed as a table after training instead of logged.

    Args:
        rows: number of actions, in decreasing order of their time.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self._printed = False

    def describe(self) -> None:
        if self._printed:  # after training; the test calls this again
            return
        self._printed = True
        table = Table("action", "calls", "seconds", show_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        durations = sorted(self.recorded_durations.items(), key=lambda item: -sum(item[1]))
        for action, taken in durations[: self.rows]:
            # The name of a checkpoint callback contains its settings.
            name = re.sub(r"\{.*\}", "", action)
            table.add_row(escape(name), f"{len(taken):,}", f"{sum(taken):.2f}")
        Console(highlight=False).print(table)
