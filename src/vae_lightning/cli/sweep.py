"""A sweep: its jobs, and how one of them is run, in this process or in one of a launcher."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_lightning.cli.job_process import JobProcessError, needs_processes, run_in_process
from vae_lightning.cli.job_state import (
    ERROR_FILE,
    LOCK_FILE,
    error_of,
    is_finished,
    last_checkpoint,
    record_error,
    score,
)
from vae_lightning.cli.launchers import prepare_process
from vae_lightning.cli.log import Log
from vae_lightning.cli.parallel import Share
from vae_lightning.cli.paths import start_folder
from vae_lightning.cli.set_up import set_up
from vae_lightning.cli.user_errors import show, translated
from vae_lightning.config import to_container
from vae_lightning.config.job_names import job_title, swept
from vae_lightning.errors import UserError
from vae_lightning.utils.progress import duration


@dataclass(frozen=True)
class SweepJob:
    """A job as it was composed when the sweep was checked.

    Attributes:
        title: its swept settings.
        folder: absolute.
        evaluates: it evaluates its checkpoint at the end.
    """

    title: str
    folder: Path
    evaluates: bool

    @property
    def finished(self) -> bool:
        """Whether it has written its results."""
        return is_finished(self.folder, self.evaluates)


class Sweep:
    """Runs a job of a sweep when it is called; launchers copy it into other processes.

    A job goes on from the last checkpoint in its folder, if there is one: that of a sweep that was
    stopped, or of a process that a cluster has ended and started again. In the process of the
    command, a job prints what a single run prints. In another process it prints nothing, and its
    log is in its folder.

    Args:
        command: such as `train`.
        prepare, task: as for `cli.command.run`.
        jobs: all of them, by number; empty if a sweeper chooses them one by one.
        resumable: jobs leave checkpoints to go on from.

    Attributes:
        jobs: as given.
        skipped: the numbers of jobs that are not run, because they have finished or failed.
        share: the threads and devices of a job in another process.
    """

    def __init__(
        self,
        command: str,
        prepare: Callable[[dict[str, Any]], Any],
        task: Callable[[Any], float | None],
        jobs: list[SweepJob],
        resumable: bool,
    ) -> None:
        self.command = command
        self.prepare = prepare
        self.task = task
        self.jobs = jobs
        self.resumable = resumable
        self.skipped: set[int] = set()
        self.share = Share()
        self._process = _this_process()
        self._done: list[float] = []  # the times when jobs have ended here

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        set_up()  # of a process that a launcher has started

    def __call__(self, config: Any) -> float | None:
        """Run the job that Hydra has composed.

        Returns:
            what the task returns; None if it has failed.
        """
        from hydra.core.hydra_config import HydraConfig

        settings = HydraConfig.get()
        number, folder = settings.job.num, Path(settings.runtime.output_dir)
        if number in self.skipped:
            return score(folder)
        with ExitStack() as stack:
            if self._elsewhere:
                null = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
                stack.enter_context(redirect_stdout(null))
                stack.enter_context(redirect_stderr(null))
                self.share.take(number)
                prepare_process()
            else:
                print(f"\n{self._heading(settings.job, settings.overrides.task)}", flush=True)
            log = stack.enter_context(Log(self.command))
            log.open_in(folder, settings.overrides.task)
            outcome = self._guarded(config, folder)
        self._done.append(time.perf_counter())
        return outcome

    def describe(self, number: int) -> str:
        """Which of the jobs this is, and its settings."""
        return f"job {number + 1} of {len(self.jobs)}: {self.jobs[number].title}"

    def waiting(self) -> list[int]:
        """The numbers of the jobs that have neither finished nor failed."""
        return [
            number
            for number, job in enumerate(self.jobs)
            if not job.finished and error_of(job.folder) is None
        ]

    def forget_error(self, number: int) -> None:
        """Remove what a job that failed has left of that, before it is run again."""
        (self.jobs[number].folder / ERROR_FILE).unlink(missing_ok=True)

    @property
    def _elsewhere(self) -> bool:
        """Whether this is another process than that of the command."""
        return _this_process() != self._process

    def _heading(self, job: Any, overrides: Any) -> str:
        """The number of a job, its settings, and the time that it and those after it take."""
        if not self.jobs:  # a sweeper chooses them
            fixed = job.config.override_dirname.exclude_keys
            return f"job {job.num + 1}: {job_title(swept(list(overrides), fixed))}"
        line = self.describe(job.num)
        if not self._done:
            self._started = time.perf_counter()
            return line
        left = len([n for n in range(job.num, len(self.jobs)) if n not in self.skipped])
        each = (time.perf_counter() - self._started) / len(self._done)
        return f"{line} · {duration(each * left)} left"

    def _guarded(self, config: Any, folder: Path) -> float | None:
        """Run a job; its failure is shown and recorded, and does not end the sweep."""
        from filelock import FileLock, Timeout

        try:
            with FileLock(folder / LOCK_FILE, timeout=0):
                return translated(config, lambda: self._run(config, folder))
        except Timeout:
            show(UserError(f"{folder} is being written by another process"))
        except UserError as error:
            if not isinstance(error, JobProcessError):  # which has been shown
                show(error)
            record_error(folder, str(error))
        except Exception as error:
            import traceback

            traceback.print_exc()
            record_error(folder, f"{type(error).__name__}: {str(error).strip()}".splitlines()[0])
        return None

    def _run(self, config: Any, folder: Path) -> float | None:
        # Paths are as the user wrote them, also if the job has a working directory of its own.
        with chdir(start_folder()):
            plain = to_container(config)
            if self.resumable and (last := last_checkpoint(folder)):
                plain["ckpt_path"] = str(last)
            if needs_processes(plain):
                checkpoint = plain.get("ckpt_path")
                return run_in_process(self.command, folder, checkpoint, quiet=self._elsewhere)
            prepared = self.prepare(plain)
        return self.task(prepared)


def _this_process() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()
