"""The progress bar of all commands."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Where standard error is no terminal, a line is printed so often.
_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show on standard error how far a task is: a bar on a terminal, otherwise a line at times.

    Of several processes, the first one shows it.

    Args:
        what: is counted, such as "images".
        total: how many there are.

    Returns:
        a function to be called with the number of those just done.
    """
    if int(os.environ.get("LOCAL_RANK", 0)) > 0:
        yield lambda count: None
    elif not sys.stderr.isatty():
        yield _lines(what, total)
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (TextColumn(what), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=total)
            yield lambda count: bar.advance(task, count)


def _lines(what: str, total: int) -> Callable[[int], None]:
    done, shown = 0, time.perf_counter()

    def advance(count: int) -> None:
        nonlocal done, shown
        done += count
        if done < total and time.perf_counter() - shown > _SECONDS_BETWEEN_LINES:
            shown = time.perf_counter()
            print(f"{what}: {done:,} of {total:,}", file=sys.stderr, flush=True)

    return advance
