"""The log of a run: what a command printed, in a file of the run's folder."""

import re
import shlex
import shutil
import sys
import traceback
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from vae_lightning import __version__
from vae_lightning.errors import UserError
from vae_lightning.utils.progress import erase
from vae_lightning.utils.rank import rank

# The folders of the other commands hold files to be used elsewhere or given away.
_LOGGED = ("train", "evaluate", "detect", "search", "benchmark")

_STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# The name and the space before the text of a line such as "run         outputs/...".
_LABEL = re.compile(r"\S+(?: \S+)? {2,}")


class Log:
    """Copies the lines that are printed to a file, without bars and colours.

    What is printed before the file has a name is kept until then. A block that ends with an error
    leaves its message in the file, and a mistake of the program its traceback. Lines that are wider
    than the terminal are wrapped between words, on the terminal and not in the file; an indented
    line, such as a command to copy, is left as it is.

    Of several processes, the first one writes the file. `generate` and `export` have none.

    Args:
        command: such as `train`; it is the name of the file, without its ending.
    """

    def __init__(self, command: str) -> None:
        self.command = command
        self._file: TextIO | None = None
        self._kept: list[str] | None = []

    def open_in(self, folder: Path, overrides: Sequence[str]) -> None:
        """Write to `<folder>/<command>.log` from now on, after what was printed before.

        A run that goes on in its folder adds to its log.

        Args:
            folder: of the run.
            overrides: of the command line, for the first line of the file.
        """
        kept, self._kept = self._kept or [], None
        if rank() > 0 or self.command not in _LOGGED:
            return
        path = folder.absolute() / f"{self.command}.log"
        # A line at a time, so that the file is complete even if the process is killed.
        self._file = path.open("a", encoding="utf-8", buffering=1)
        started = f"{datetime.now():%Y-%m-%d %H:%M:%S}  vae_lightning {__version__}"
        self.add(f"{started}  {shlex.join([self.command, *overrides])}\n")
        for line in kept:
            self.add(line)

    def add(self, line: str) -> None:
        """Add a line, which ends with a line break, to the file."""
        if self._kept is not None:
            self._kept.append(line)
        elif self._file is not None:
            try:
                self._file.write(line)
            except OSError:  # the disk is full: what fails next says so
                self._file = None

    def __enter__(self) -> Self:
        self._streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (_Copied(stream, self) for stream in self._streams)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = self._streams
        if isinstance(error, UserError):
            self.add(f"error: {error}\n")
        elif isinstance(error, KeyboardInterrupt):
            self.add("interrupted\n")
        elif error is not None and not isinstance(error, SystemExit):
            self.add("".join(traceback.format_exception(error)))
        if self._file is not None:
            self._file.close()
            self._file = None


class _Copied:
    """A stream whose complete lines are added to a log.

    Attributes:
        below: the stream itself, for bars.
    """

    def __init__(self, stream: TextIO, log: Log) -> None:
        self.below = stream
        self._log = log
        self._unwritten = ""
        self._line = ""

    def write(self, text: str) -> int:
        """Write the lines that are complete: a bar may be drawn before the rest comes."""
        lines, newline, rest = (self._unwritten + text).rpartition("\n")
        self._unwritten = rest
        if newline:
            self._write(lines + newline)
            self.below.flush()  # a pipe would show nothing for minutes
        return len(text)

    def flush(self) -> None:
        if self._unwritten:
            text, self._unwritten = self._unwritten, ""
            self._write(text)
        self.below.flush()

    def _write(self, text: str) -> None:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            if "\r" not in line:  # else it is a bar of another package
                self._log.add(_STYLES.sub("", line).rstrip() + "\n")
        if self.below.isatty():
            width = shutil.get_terminal_size().columns
            text = erase() + "\n".join(wrapped(line, width) for line in text.split("\n"))
        self.below.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)


def wrapped(line: str, width: int) -> str:
    """Break a line that is wider than the terminal between words, as long as it is not indented.

    What comes after a label, that is after two spaces or more, stays to the right of it.

    Example:
        >>> print(wrapped("run  60,000 training and 10,000 test images", 20))
        run  60,000 training
             and 10,000 test
             images
    """
    if line.startswith("  ") or len(_STYLES.sub("", line)) <= width:
        return line
    label = match[0] if (match := _LABEL.match(line)) else ""
    rows = [label]
    for word in line[len(label) :].split(" "):
        row = f"{rows[-1]}{word} "
        if len(_STYLES.sub("", row)) - 1 > width and rows[-1].strip() != label.strip():
            row = f"{' ' * len(label)}{word} "
            rows.append(row)
        else:
            rows[-1] = row
    return "\n".join(row[:-1] for row in rows)
