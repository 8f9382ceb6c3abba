"""Launching the jobs of a sweep, by Hydra's launchers, and what is left of one that was stopped."""

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from vae_lightning.cli.error_messages import first_line, quoted
from vae_lightning.cli.job_state import error_of, is_running, record_error
from vae_lightning.cli.job_watch import watched
from vae_lightning.cli.launchers import (
    check_available,
    leave_submitted,
    submitted,
    wait_for_submitted,
)
from vae_lightning.cli.overrides import FIXED_KEYS, CommandLine, fixed_keys
from vae_lightning.cli.parallel import num_devices, share_of
from vae_lightning.cli.resume import resume_sweep_command
from vae_lightning.cli.sweep import Sweep
from vae_lightning.config import CONF_DIR
from vae_lightning.errors import ConfigError

# joblib ends all of its processes if one was killed.
_KILLED = ("TerminatedWorkerError", "BrokenProcessPool")
_SECONDS_BETWEEN_LOOKS = 0.5


def check_launcher(settings: Any) -> None:
    """Check that a launcher starts jobs.

    Args:
        settings: under the key `hydra`.

    Raises:
        ConfigError: it starts none, or something that it needs is missing.
    """
    check_available(settings.launcher)
    share_of(settings.launcher, num_jobs=1, devices=0)


class Launch:
    """Launches the jobs of a sweep that have not finished.

    Args:
        sweep: the jobs.
        line: of the command.
        folder: of the sweep, absolute.
        settings: under `hydra`, of one of the jobs.
        config: of one of the jobs, resolved.
    """

    def __init__(
        self, sweep: Sweep, line: CommandLine, folder: Path, settings: Any, config: dict[str, Any]
    ) -> None:
        self._sweep = sweep
        self._folder = folder
        self._resumed = line.resumed
        # Jobs run one after another in this process.
        self._kind = str(settings.launcher._target_).rpartition(".")[2]
        self._alone = self._kind == "BasicLauncher"
        devices = 0 if self._alone else num_devices(config.get("trainer", {}))
        sweep.share = share_of(settings.launcher, max(1, len(sweep.jobs)), devices)
        sweep.skipped = {number for number, job in enumerate(sweep.jobs) if job.finished}
        self._overrides = [
            *line.overrides,
            "hydra.mode=MULTIRUN",
            f"{FIXED_KEYS}=[{','.join(fixed_keys(line.overrides))}]",
            f"hydra.sweep.dir={quoted(str(folder))}",
        ]
        if line.config_dir:
            place = f"file://{Path(line.config_dir).resolve()}"
            self._overrides.append(f"hydra.searchpath=[{quoted(place)}]")
        if "n_jobs" in settings.launcher:
            self._overrides.append(f"hydra.launcher.n_jobs={sweep.share.jobs_at_once}")

    def run(self) -> bool:
        """Run the jobs that have not finished.

        Returns:
            no job has failed.

        Raises:
            ConfigError: SLURM has refused the jobs.
        """
        sweep = self._sweep
        if self._resumed:
            print(f"{len(sweep.skipped)} of {len(sweep.jobs)} jobs are finished already")
        waiting = [n for n in range(len(sweep.jobs)) if n not in sweep.skipped]
        for number in waiting:
            sweep.forget_error(number)
        known = submitted(self._folder)
        with nullcontext() if self._alone else watched(sweep, waiting):
            while len(sweep.skipped) < len(sweep.jobs) or not sweep.jobs:
                try:
                    self._launch()
                    break
                except KeyboardInterrupt:
                    leave_submitted(self._kind, submitted(self._folder) - known)
                    raise
                except Exception as error:
                    new = submitted(self._folder) - known
                    if self._kind == "SlurmLauncher" and not new:
                        raise ConfigError(
                            f"sbatch refuses the jobs: {first_line(error)}"
                        ) from error
                    wait_for_submitted(self._kind, self._folder, new)
                    self._wait_for_those_that_run()
                    if not self._record_killed():
                        raise
                    if type(error).__name__ not in _KILLED:
                        break
        return not any(self._folder.glob("**/error.txt"))

    def show_rest(self) -> None:
        """Print how many jobs are finished, and the command that runs the others."""
        sweep = self._sweep
        finished = sum(job.finished for job in sweep.jobs)
        if sweep.resumable and sweep.jobs:
            print(
                f"{finished} of {len(sweep.jobs)} jobs are finished. To go on with the sweep:\n"
                f"  {resume_sweep_command(self._folder)}",
                file=sys.stderr,
            )
        elif titles := [job.title for job in sweep.jobs if not job.folder.exists()]:
            number = "1 job was" if len(titles) == 1 else f"{len(titles)} jobs were"
            print("\n  ".join([f"{number} not started:", *titles]), file=sys.stderr)

    def _launch(self) -> None:
        from hydra import initialize_config_dir
        from hydra.core.global_hydra import GlobalHydra

        with initialize_config_dir(str(CONF_DIR), self._sweep.command, version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            hydra.multirun(self._sweep.command, self._sweep, self._overrides)

    def _wait_for_those_that_run(self) -> None:
        """Wait for jobs that a launcher has left running when another one failed."""
        while any(is_running(job.folder) for job in self._sweep.jobs):
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _record_killed(self) -> bool:
        """Record jobs without a result as failed, if they were started; return if there are any."""
        sweep = self._sweep
        killed = sweep.waiting()
        reason = "its job on the cluster was cancelled or killed: out of memory?"
        if self._kind != "SlurmLauncher":
            killed = [n for n in killed if (sweep.jobs[n].folder / ".hydra").is_dir()]
            reason = "its process was killed, or one beside it: out of memory?"
        for number in killed:
            sweep.jobs[number].folder.mkdir(exist_ok=True)
            record_error(sweep.jobs[number].folder, reason)
        ended = {n for n, job in enumerate(sweep.jobs) if job.finished or error_of(job.folder)}
        sweep.skipped |= ended
        return bool(killed)
