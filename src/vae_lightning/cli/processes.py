"""The processes of a run on several devices end together."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import distributed

from vae_lightning.errors import UserError

# Seconds between two looks at the other processes.
_BETWEEN_LOOKS = 0.2
# How long a process waits for the reason why another one does not answer, in seconds.
_PATIENCE = 3.0
# The process that starts the others, for them.
_STARTED_BY = "VAE_LIGHTNING_STARTED_BY"
# Those that this process has started; a Trainer for a later stage knows them no more.
_started: list[subprocess.Popen[bytes]] = []


class LostProcessError(UserError):
    """Another process of the run has ended."""


@contextmanager
def ending_together(trainer: Trainer) -> Iterator[None]:
    """End this process soon after another process of the run has ended, with one line.

    Without it, those that are left wait for the gradients of the one that is not, on a GPU for many
    minutes.

    Raises:
        LostProcessError: another process has ended, and it was not started from here.
    """
    if trainer.world_size == 1:
        yield
        return
    state: Any = trainer
    # Lightning would have all processes exchange data while they handle a signal: if only some have
    # received it, they wait for each other for ever.
    state._signal_connector._sigterm_notifier_fn = lambda signum, frame: None
    watch = _Watch(trainer)
    state.callbacks.insert(0, watch)
    try:
        with watch:
            yield
    except (SystemExit, KeyboardInterrupt):
        if watch.is_started:
            watch.wait()  # the first process says that all were interrupted, and ends this one
        raise
    except Exception as error:
        if watch.is_started or _is_lost(error):
            # Errors of all processes are shown by the first one.
            watch.wait()
        if not _is_lost(error):
            raise
        raise LostProcessError("another process of this run has ended") from error
    finally:
        state.callbacks.remove(watch)


class _Watch(Callback):
    """A thread that looks whether the other processes on this machine are alive."""

    def __init__(self, trainer: Trainer) -> None:
        self.launcher: Any = trainer.strategy.launcher
        self.rank = trainer.global_rank
        self.world_size = trainer.world_size
        parent = os.environ.get(_STARTED_BY)
        # Whether Lightning has started it from the first process.
        self.is_started = parent is not None and int(parent) != os.getpid()
        self._parent = int(parent) if parent and self.is_started else os.getppid()
        os.environ.setdefault(_STARTED_BY, str(os.getpid()))
        self._trainer: Any = trainer
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        if not self.is_started:  # what is started from here later on is not for this run
            os.environ.pop(_STARTED_BY, None)
        if error is None or not _is_lost(error):
            self._stop()
            if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
                self._kill()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self.__exit__(type(exception), exception, None)

    def wait(self) -> None:
        """Wait for the thread to end this process, or for the first process to do so."""
        time.sleep(_PATIENCE)

    def _stop(self) -> None:
        self._ended.set()

    def _look(self) -> None:
        while not self._ended.wait(_BETWEEN_LOOKS):
            self._find_started()
            for process in _started:
                if process.poll():  # its status, which is not 0
                    number = _started.index(process) + 1
                    self._end(f"process {number + 1} of {self.world_size} {_how(process)}")
            if not _started and os.getppid() != self._parent:
                self._end("the process that started this one has ended")

    def _find_started(self) -> None:
        _started.extend(one for one in getattr(self.launcher, "procs", []) if one not in _started)
        for thread in threading.enumerate():
            if thread.name == "child-process-observer":
                # Lightning's own looks every five seconds, and kills this process without a word.
                thread._run = lambda: True  # type: ignore[attr-defined]

    def _kill(self) -> None:
        self._find_started()
        for process in _started:
            process.kill()

    def _end(self, reason: str) -> None:
        if self._ended.is_set():
            return
        saver = self._trainer.checkpoint_callback
        path = saver and (getattr(saver, "last_model_path", "") or saver.best_model_path)
        kept = f"; the last checkpoint is {path}" if path else ""
        print(f"error: {reason}, and the run with it{kept}", file=sys.stderr, flush=True)
        self._kill()
        # The main thread may wait for a process that is no more.
        os._exit(1)


def _how(process: "subprocess.Popen[bytes]") -> str:
    status = process.returncode
    if status >= 0:
        return f"has ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"


def _is_lost(error: BaseException) -> bool:
    """Whether an error says that another process does not answer."""
    if isinstance(error, distributed.DistError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("gloo" in text or "closed by peer" in text)
