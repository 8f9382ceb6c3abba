"""SIGTERM is handled as Ctrl-C: what runs is stopped, and what is done is kept."""

import signal
import threading
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM, by which clusters and process managers stop a program."""


def terminate_as_interrupt() -> None:
    """Raise `Terminated` on SIGTERM from now on; only the main thread can ask for that."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _raise)


def interrupt_of(signum: int) -> KeyboardInterrupt:
    """The exception for a signal that stops a program."""
    return Terminated() if signum == signal.SIGTERM else KeyboardInterrupt()


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """The status that shells use for a process that a signal has ended."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


def _raise(signum: int, frame: FrameType | None) -> None:
    raise Terminated
