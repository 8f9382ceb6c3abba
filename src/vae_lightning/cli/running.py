"""Running the jobs of a command: check all of them first, then run one or hand over a sweep."""

import sys
import time
import warnings
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_lightning.cli.log import Log
from vae_lightning.cli.overrides import (
    CommandLine,
    is_sweep,
    jobs,
    swept_settings,
)
from vae_lightning.cli.paths import start_folder
from vae_lightning.cli.run_folder import OutputFolder, check_job_folders, record_error
from vae_lightning.cli.user_errors import DISK_ERRORS, disk_error, show
from vae_lightning.config import CONF_DIR, to_container
from vae_lightning.errors import ConfigError, DataError, UserError
from vae_lightning.utils.progress import below, duration, stage

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
    ) -> None:
        self.config_name = config_name
        self.prepare = prepare
        self.task = task
        self.fetch = fetch
        self.one_job = one_job
        self.after_sweep = after_sweep
        self.failed = False
        # Printed before what takes seconds to load.
        self.first_line = ""
        # The jobs of a sweep that have not been started, and how many there are.
        self._waiting: list[str] = []
        self._number_of_jobs = 0
        self._started = 0.0

    def show_not_started(self) -> None:
        """Print the settings of the jobs of a sweep that have not been started."""
        if self._waiting:
            number = "1 job was" if len(self._waiting) == 1 else f"{len(self._waiting)} jobs were"
            print(f"{number} not started:", file=sys.stderr)
            for settings in self._waiting:
                print(f"  {settings}", file=sys.stderr)

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
                job, folder = self._checked(line)
                if folder.make():
                    break  # otherwise another process took the name in the meantime: use the next
            sys.argv[1:] = line.arguments
            if job is None:
                self.hand_to_hydra(folder.override)
                if self.after_sweep:
                    self.after_sweep(folder.path)
            else:
                log.open_in(folder.path, line.overrides)
                self._run_alone(job)
        return folder.path.absolute()

    def run_in_place(self, line: CommandLine) -> None:
        """Check and run one job, without a folder of its own.

        Raises:
            UserError: the job is refused, or has failed.
        """
        for config in jobs(self.config_name, line):
            if is_sweep(config.hydra):
                raise ConfigError(f"{self.config_name} runs one job: leave out -m")
            self.task(self.prepare(_without_hydra(config)))

    def hand_to_hydra(self, *overrides: str) -> None:
        """Let Hydra compose and run: a sweep, or a command line that asks for information."""
        import hydra

        before = sys.argv
        sys.argv = [*before, *overrides]
        main = hydra.main(
            config_path=str(CONF_DIR), config_name=self.config_name, version_base="1.3"
        )
        try:
            main(self._job_of_sweep)()
        finally:
            sys.argv = before

    def _checked(self, line: CommandLine) -> tuple[_Job | None, OutputFolder]:
        """The job, or None for a sweep, and the output folder."""
        found: list[_Job] = []
        for config in jobs(self.config_name, line):
            if self.one_job and is_sweep(config.hydra):
                raise ConfigError("hydra.mode=MULTIRUN is a sweep, and one job is run here")
            folder = OutputFolder(config, line.overrides)
            folder.set_in(config)
            plain = _without_hydra(config)
            with warnings.catch_warnings():
                if is_sweep(config.hydra):
                    warnings.simplefilter("ignore")  # the job itself shows them
                if self.first_line:
                    print(self.first_line, file=below(sys.stdout), flush=True)
                    self.first_line = ""
                with stage(_LOADING if not found else f"checking job {len(found) + 1}"):
                    prepared = self.prepare(plain)
            if is_sweep(config.hydra) and "trainer" in plain:
                _check_one_process(plain)
            folder.check()
            # The objects of all jobs of a sweep together may not fit in memory.
            found.append(_Job(config, plain, None if is_sweep(config.hydra) else prepared))
        if is_sweep(found[0].config.hydra):
            check_job_folders([job.config for job in found])
            self._waiting = swept_settings([job.config for job in found])
            self._number_of_jobs = len(found)
        for job in found:
            if replaced := self._fetch(job, line):
                line.overrides = replaced
                return self._checked(line)
        return (None if is_sweep(found[0].config.hydra) else found[0]), folder

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
                _translated(job.config, lambda: self.task(job.prepared))
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

    def _job_of_sweep(self, config: Any) -> float | None:
        from hydra.core.hydra_config import HydraConfig

        print(f"\n{self._line_of(HydraConfig.get().job)}", flush=True)
        del self._waiting[:1]
        with Log(self.config_name) as log:
            settings = HydraConfig.get()
            log.open_in(Path(settings.runtime.output_dir), settings.overrides.task)
            return self._guarded(config, lambda: self.task(self._prepared_from_start(config)))

    def _line_of(self, job: Any) -> str:
        """The number of a job, its swept settings, and the time that it and those after it take."""
        if not self._waiting:  # a sweeper has chosen the job's settings
            return f"job {job.num + 1}: {job.override_dirname}"
        done = self._number_of_jobs - len(self._waiting)
        line = f"job {done + 1} of {self._number_of_jobs}: {self._waiting[0]}"
        if done == 0:
            self._started = time.perf_counter()
            return line
        left = (time.perf_counter() - self._started) / done * len(self._waiting)
        return f"{line} · {duration(left)} left"

    def _prepared_from_start(self, config: Any) -> Any:
        # Paths are as the user wrote them, also if the job has a working directory of its own.
        with chdir(start_folder()):
            return self.prepare(to_container(config))

    def _guarded(self, config: Any, job: Callable[[], float | None]) -> float | None:
        """Run a job of a sweep, which goes on after an error that the user can fix."""
        try:
            return _translated(config, job)
        except UserError as error:
            self.failed = True
            show(error)
            record_error(config, error)
        return None


def _translated(config: Any, job: Callable[[], float | None]) -> float | None:
    """Run a job; a full disk is an error that the user can fix, and Ctrl-C is an interrupt."""
    try:
        return job()
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise disk_error(error, config) from error
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning's reaction to Ctrl-C
            raise KeyboardInterrupt from None
        raise


def _without_hydra(config: Any) -> Config:
    from omegaconf import OmegaConf

    return to_container(OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]))


def _check_one_process(config: Config) -> None:
    from vae_lightning.config.compatibility import processes_started

    if (processes := processes_started(config["trainer"])) > 1:
        raise ConfigError(
            f"a run on {processes} devices starts one process per device, and each would run the "
            "whole sweep: set trainer.devices=1, or start the jobs one by one without -m"
        )
