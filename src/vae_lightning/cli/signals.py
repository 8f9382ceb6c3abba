"""SIGTERM is handled as Ctrl-C: what runs is stopped, and what is done is kept."""

import os
import signal
import threading
from types import FrameType

# Set by submitit in the processes of its jobs.
_EXECUTOR = "SUBMITIT_EXECUTOR"


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


def requeue_signals() -> list[signal.Signals]:
    """The signal on which submitit queues the job of this process again; none if it runs none."""
    if _EXECUTOR not in os.environ:
        return []
    return [signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]]


def is_of_cluster(signum: int) -> bool:
    """Whether a signal announces that a cluster ends this job, to start it again later.

    On SIGTERM, a job of SLURM has to run until it is killed: SLURM does not queue a job again that
    ends by itself.
    """
    terminates = signum == signal.SIGTERM and os.environ.get(_EXECUTOR) == "slurm"
    return terminates or signum in requeue_signals()


def _raise(signum: int, frame: FrameType | None) -> None:
    raise Terminated
