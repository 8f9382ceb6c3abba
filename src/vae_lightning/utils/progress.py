"""How far a task is: a bar or a status line on a terminal, a line at times elsewhere.

Bars are on standard error, lines on standard output; the log of a run has neither.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # loaded by what runs
    from rich.progress import Progress, ProgressColumn

# Where there is no terminal, the seconds before the first line. Each further one takes twice as
# long as the one before, up to the longest.
_SECONDS_BEFORE_A_LINE = 10.0
_LONGEST_SECONDS = 300.0

# What is drawn on the terminal now, the innermost last: only that one is seen.
_live: list["Progress"] = []


def below(stream: Any) -> Any:
    """The stream itself, if logs copy what is printed on it; see `cli.log`."""
    while hasattr(stream, "below"):  # a job of a sweep has a log within that of the command
        stream = stream.below
    return stream


def erase() -> str:
    """The characters that take a bar or a status line off the terminal, until it is drawn again."""
    return "\r\x1b[2K" if _live else ""


def on_terminal() -> bool:
    """Whether bars can be drawn."""
    return bool(sys.stderr.isatty())


def duration(seconds: float) -> str:
    """A duration as minutes and seconds, and hours if there are any.

    Example:
        >>> duration(75.2), duration(3700)
        ('1:15', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a task is: a bar on a terminal, otherwise a line at times.

    Of several processes, the first one shows it.

    Args:
        what: is counted, such as "images".
        total: how many there are.

    Returns:
        a function to be called with the number of those just done.
    """
    if _is_hidden():
        yield lambda count: None
    elif not on_terminal():
        yield _lines(what, total)
    else:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn())
        with live(*columns, TimeRemainingColumn(compact=True)) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.advance(task, count)


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Show what is being done, and for how long already, where nothing can be counted.

    Of several processes, the first one shows it.

    Args:
        what: is done, such as "reading MNIST".
    """
    if _is_hidden():
        yield
    elif not on_terminal():
        timer = threading.Timer(_SECONDS_BEFORE_A_LINE, _print_line, [f"{what} ..."])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
    else:
        from rich.progress import SpinnerColumn, TextColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"))
        with live(*columns, TextColumn("{task.elapsed:.0f} s")) as bar:
            bar.add_task(what, total=None)
            yield


@contextmanager
def live(*columns: "ProgressColumn", auto_refresh: bool = True) -> Iterator["Progress"]:
    """Draw a line on the terminal while a block runs, in place of the one that is there.

    Args:
        columns: of the line.
        auto_refresh: draw it ten times a second from a thread; otherwise it is drawn when its
            `refresh` is called.
    """
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(
        *columns,
        console=Console(file=below(sys.stderr)),
        auto_refresh=auto_refresh,
        transient=True,
        # Redirecting would wrap long lines, such as the command to resume; see `cli.log`.
        redirect_stdout=False,
        redirect_stderr=False,
    )
    if _live:
        _live[-1].stop()
    _live.append(bar)
    bar.start()
    try:
        yield bar
    finally:
        bar.stop()
        _live.remove(bar)
        if _live:
            _live[-1].start()


class LinesAtTimes:
    """Prints lines where there is no terminal: the first after ten seconds, then ever fewer."""

    def __init__(self) -> None:
        self._wait = _SECONDS_BEFORE_A_LINE
        self._due = time.perf_counter() + self._wait

    def due(self) -> bool:
        """Whether it is time for a line."""
        return time.perf_counter() > self._due

    def print(self, text: str) -> None:
        """Print one, and start to wait for the next."""
        _print_line(text)
        self._wait = min(2 * self._wait, _LONGEST_SECONDS)
        self._due = time.perf_counter() + self._wait


def _lines(what: str, total: int) -> Callable[[int], None]:
    done, started, lines = 0, time.perf_counter(), LinesAtTimes()

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if 0 < done < total and lines.due():
            left = (time.perf_counter() - started) * (total - done) / done
            lines.print(f"{what}: {done:,} of {total:,}, {duration(left)} left")

    return advance


def _is_hidden() -> bool:
    return int(os.environ.get("LOCAL_RANK", 0)) > 0


def _print_line(text: str) -> None:
    print(text, file=below(sys.stdout), flush=True)
