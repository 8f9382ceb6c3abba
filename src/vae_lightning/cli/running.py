"""Running the jobs of a command: check all of them first, then run one or launch a sweep."""

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_lightning.cli.launching import Launch, check_launcher
from vae_lightning.cli.log import Log
from vae_lightning.cli.overrides import CommandLine, is_sweep, jobs, lists_jobs
from vae_lightning.cli.resume import resume_sweep_command
from vae_lightning.cli.run_folder import OutputFolder, job_folders
from vae_lightning.cli.sweep import Sweep, SweepJob
from vae_lightning.cli.user_errors import translated
from vae_lightning.config import CONF_DIR, to_container
from vae_lightning.config.job_names import job_title, swept
from vae_lightning.errors import ConfigError, DataError, UserError
from vae_lightning.utils.progress import below, stage

Config = dict[str, Any]

_LOADING = "loading torch and Lightning"


@dataclass
class _Job:
    """A composed job, and what was built for it; None for a job of a sweep, which builds again."""

    config: Any
    plain: Config
    prepared: Any


class Command:
    """A command, and how its jobs are run.

    Args:
        config_name, prepare, task, fetch: as for `run`.
        one_job: refuse sweeps.
        after_sweep: as for `run`.
        resumable: as for `run`.

    Attributes:
        failed: a job of a sweep has failed.
    """

    def __init__(
        self,
        config_name: str,
        prepare: Callable[[Config], Any],
        task: Callable[[Any], float | None],
        fetch: Callable[[Config], None] | None,
        one_job: bool = False,
        after_sweep: Callable[[Path], None] | None = None,
        resumable: bool = False,
    ) -> None:
        self.config_name = config_name
        self.prepare = prepare
        self.task = task
        self.fetch = fetch
        self.one_job = one_job
        self.after_sweep = after_sweep
        self.resumable = resumable
        self.failed = False
        # Printed before what takes seconds to load.
        self.first_line = ""
        # Of the sweep that runs.
        self._launch: Launch | None = None

    def show_rest(self) -> None:
        """Print what is left of a sweep that was stopped, and the command that goes on with it."""
        if self._launch is not None:
            self._launch.show_rest()

    def run_jobs(self, line: CommandLine) -> Path:
        """Check all jobs, download their data, create the folder, run.

        Returns:
            the folder of the run or of the sweep.

        Raises:
            UserError: a job is refused, or its data is not available, and nothing was written; or
                a single job has failed. A sweep shows the error of a job and goes on.
        """
        with Log(self.config_name) as log:
            while True:
                found, folder = self._checked(line)
                if folder.make():
                    break  # otherwise another process took the name in the meantime: use the next
            sys.argv[1:] = line.arguments
            if is_sweep(found[0].config.hydra):
                self._run_sweep(line, found, folder.path.absolute())
            else:
                log.open_in(folder.path, line.overrides)
                self._run_alone(found[0])
        return folder.path.absolute()

    def check(self, line: CommandLine) -> None:
        """Check all jobs without running them.

        Raises:
            UserError: a job is refused.
        """
        self._checked(line)

    def run_in_place(self, line: CommandLine) -> None:
        """Check and run one job, without a folder of its own.

        Raises:
            UserError: the job is refused, or has failed.
        """
        for config in jobs(self.config_name, line):
            if is_sweep(config.hydra):
                raise ConfigError(f"{self.config_name} runs one job: leave out -m")
            self.task(self.prepare(_without_hydra(config)))

    def hand_to_hydra(self) -> None:
        """Let Hydra answer a command line that asks for information."""
        import hydra

        main = hydra.main(
            config_path=str(CONF_DIR), config_name=self.config_name, version_base="1.3"
        )
        main(lambda config: None)()

    def _run_sweep(self, line: CommandLine, found: "list[_Job]", folder: Path) -> None:
        """Launch the jobs of a sweep, and end with what it has come to."""
        settings = found[0].config.hydra
        sweep = Sweep(
            self.config_name,
            self.prepare,
            self.task,
            _sweep_jobs(found, folder) if lists_jobs(settings) else [],
            self.resumable,
        )
        self._launch = Launch(sweep, line, folder, settings, found[0].plain)
        self.failed = not self._launch.run()
        if self.after_sweep:
            self.after_sweep(folder)
        if self.failed and self.resumable and sweep.jobs:
            print(f"To run those that failed again:\n  {resume_sweep_command(folder)}")
        self._launch = None

    def _checked(self, line: CommandLine) -> "tuple[list[_Job], OutputFolder]":
        """The jobs, and the output folder."""
        found: list[_Job] = []
        for config in jobs(self.config_name, line):
            if self.one_job and is_sweep(config.hydra):
                raise ConfigError("hydra.mode=MULTIRUN is a sweep, and one job is run here")
            folder = OutputFolder(config, line.overrides, line.resumed)
            folder.set_in(config)
            plain = _without_hydra(config)
            with warnings.catch_warnings():
                if is_sweep(config.hydra):
                    warnings.simplefilter("ignore")  # the job itself shows them
                    check_launcher(config.hydra)
                if self.first_line:
                    print(self.first_line, file=below(sys.stdout), flush=True)
                    self.first_line = ""
                loads = "torch" not in sys.modules
                with stage(_LOADING if loads else f"checking job {len(found) + 1}"):
                    prepared = self.prepare(plain)
            folder.check()
            # The objects of all jobs of a sweep together may not fit in memory.
            found.append(_Job(config, plain, None if is_sweep(config.hydra) else prepared))
        if is_sweep(found[0].config.hydra):
            job_folders([job.config for job in found])
        for job in found:
            if replaced := self._fetch(job, line):
                line.overrides = replaced
                return self._checked(line)
        return found, folder

    def _fetch(self, job: _Job, line: CommandLine) -> list[str] | None:
        """Download a job's data; return new overrides if another data set replaces it."""
        if self.fetch is None:
            return None
        try:
            self.fetch(job.plain)
        except DataError as problem:
            choice = job.config.hydra.runtime.choices.get("data")
            fallback = job.plain.get("data_fallback")
            if fallback in (None, choice):
                raise
            name = job.plain["data"]["name"]
            print(f"warning: data={fallback} instead of {name}: {problem}", file=sys.stderr)
            return line.replaced("data", choice, fallback)
        return None

    def _run_alone(self, job: _Job) -> None:
        """Run a job that is already composed and built, as Hydra's basic launcher does."""
        from hydra._internal.callbacks import Callbacks
        from hydra.core.utils import run_job
        from hydra.types import HydraContext

        problems: list[UserError] = []

        def task(_: Any) -> None:
            try:
                translated(job.config, lambda: self.task(job.prepared))
            except UserError as error:  # of which Hydra would print a line of its own
                problems.append(error)

        context = HydraContext(config_loader=None, callbacks=Callbacks(job.config))  # type: ignore[arg-type]
        result = run_job(
            task,
            config=job.config,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
            hydra_context=context,
            configure_logging=False,
        )
        # Raises what the task raised.
        _ = result.return_value
        if problems:
            raise problems[0]


def _sweep_jobs(found: Sequence[_Job], folder: Path) -> list[SweepJob]:
    names = job_folders([job.config for job in found])
    jobs = []
    for job, name in zip(found, names, strict=True):
        settings = job.config.hydra
        fixed = settings.job.config.override_dirname.exclude_keys
        title = job_title(swept(list(settings.overrides.task), fixed))
        jobs.append(SweepJob(title, folder / name, bool(job.plain.get("evaluate"))))
    return jobs


def _without_hydra(config: Any) -> Config:
    from omegaconf import OmegaConf

    return to_container(OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]))
