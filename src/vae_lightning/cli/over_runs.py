"""A command on the checkpoint of a run, for each run in a folder."""

import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vae_lightning.cli.error_messages import quoted
from vae_lightning.cli.overrides import CommandLine, is_sweep, jobs
from vae_lightning.cli.paths import relative
from vae_lightning.cli.running import Command
from vae_lightning.cli.user_errors import show
from vae_lightning.errors import CheckpointError, ConfigError, UserError
from vae_lightning.utils.progress import duration, stage

_KEY = "ckpt_path="
# Overrides that would give all runs one folder.
_ONE_FOLDER = ("output_dir=", "hydra.run.dir=")


@dataclass(frozen=True)
class RunsOfFolder:
    """The runs in a folder that is no run itself.

    Attributes:
        folder: such as that of a sweep.
        finished: the settings of each run that has finished, in a line, by its folder.
        unfinished: the folders of the others.
        summarize: called when the command has ended for all of them.
    """

    folder: Path
    finished: dict[Path, str]
    unfinished: list[Path]
    summarize: Callable[[], None]


class OverRuns:
    """Runs a command for each run in a folder, one after another.

    Each run gets what it gets if it is alone.

    Args:
        command: on the checkpoint of a run.
        line: its command line, whose `ckpt_path` is the folder.
        runs: in that folder.
    """

    def __init__(self, command: Command, line: CommandLine, runs: RunsOfFolder) -> None:
        self._command = command
        self._runs = runs
        overrides = [item for item in line.overrides if not item.lstrip("+").startswith(_KEY)]
        self._lines = {
            run: replace(line, overrides=[*overrides, f"{_KEY}{quoted(str(relative(run)))}"])
            for run in runs.finished
        }
        self._done: list[Path] = []
        self._failed: dict[Path, str] = {}

    def run(self) -> None:
        """Check the runs, then run the command for each; one that fails does not end the others.

        Raises:
            UserError: settings do not fit one of the runs, and nothing was written.
        """
        unreadable = self._check()
        if self._runs.unfinished:
            names = ", ".join(
                str(run.relative_to(self._runs.folder)) for run in self._runs.unfinished
            )
            print(f"warning: left out because they have not finished: {names}", file=sys.stderr)
        started = time.perf_counter()
        try:
            for number, (run, line) in enumerate(self._lines.items()):
                heading = f"job {number + 1} of {len(self._lines)}: {self._runs.finished[run]}"
                if number:
                    each = (time.perf_counter() - started) / number
                    heading += f" · {duration(each * (len(self._lines) - number))} left"
                print(f"\n{heading}", flush=True)
                self._run_one(run, line, unreadable.get(run))
        except KeyboardInterrupt:
            self._show_rest()
            raise
        self._runs.summarize()
        self._show_failed()

    def _check(self) -> dict[Path, CheckpointError]:
        """Check all runs; return the errors of checkpoints that cannot be read."""
        unreadable = {}
        for number, (run, line) in enumerate(self._lines.items(), start=1):
            with warnings.catch_warnings(), stage(f"checking run {number} of {len(self._lines)}"):
                warnings.simplefilter("ignore")  # shown when it runs
                try:
                    self._command.check(line)
                except CheckpointError as error:
                    unreadable[run] = error
        if len(unreadable) == len(self._lines):
            raise next(iter(unreadable.values()))
        return unreadable

    def _run_one(self, run: Path, line: CommandLine, unreadable: CheckpointError | None) -> None:
        try:
            if unreadable:
                raise unreadable
            self._command.run_jobs(line)
            self._done.append(run)
        except UserError as error:
            show(error)
            self._failed[run] = str(error)
        except Exception as error:
            traceback.print_exc()
            self._failed[run] = f"{type(error).__name__}: {error}".strip().splitlines()[0]

    def _show_rest(self) -> None:
        rest = [run for run in self._lines if run not in self._done]
        done = f"{len(self._done)} of {len(self._lines)} runs are done. Those left:"
        print("\n  ".join([done, *(str(relative(run)) for run in rest)]), file=sys.stderr)

    def _show_failed(self) -> None:
        if self._failed:
            self._command.failed = True
            failed = f"{len(self._failed)} of {len(self._lines)} runs have failed:"
            lines = [f"{relative(run)}: {reason}" for run, reason in self._failed.items()]
            print("\n  ".join([failed, *lines]), file=sys.stderr)


def over_runs(
    command: Command,
    line: CommandLine,
    find: Callable[[dict[str, Any]], RunsOfFolder | None],
) -> OverRuns | None:
    """A command for each of several runs; None if `ckpt_path` is not a folder of runs.

    Args:
        command: on the checkpoint of a run.
        line: its command line.
        find: the runs in the folder that a configuration names; None if it names no such folder.

    Raises:
        ConfigError: none of the runs has finished, or settings are for one run alone.
    """
    config = next(jobs(command.config_name, line))
    runs = find(config)
    if runs is None:
        return None
    total = len(runs.finished) + len(runs.unfinished)
    if not runs.finished:
        raise ConfigError(f"{runs.folder}: none of its {total} runs has finished")
    if is_sweep(config.hydra):
        raise ConfigError(f"{runs.folder} holds {total} runs: leave out -m, or name a single run")
    for item in line.overrides:
        if item.lstrip("+").startswith(_ONE_FOLDER):
            raise ConfigError(
                f"{item} is for a single run: the results of each run of {runs.folder} go into "
                "its own folder"
            )
    if config.get("devices", 1) != 1:
        raise ConfigError(
            f"devices={config.devices} is for a single run: the runs of {runs.folder} take one "
            "device, one after another"
        )
    return OverRuns(command, line, runs)
