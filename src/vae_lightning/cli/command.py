"""Running a command: check all jobs first, then run them; report user errors in one line."""

import os
import re
import sys
import warnings
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TypeVar

from vae_lightning import __version__
from vae_lightning.cli.lightning_settings import quiet_lightning
from vae_lightning.cli.overrides import (
    CommandLine,
    compose_job,
    is_sweep,
    jobs,
    parse,
    swept_settings,
    without_sweeps,
)
from vae_lightning.cli.paths import start_folder
from vae_lightning.cli.run_folder import OutputFolder, check_job_folders, record_error
from vae_lightning.cli.user_errors import DISK_ERRORS, disk_error, show
from vae_lightning.config import CONF_DIR, instantiate, to_container
from vae_lightning.config.resolvers import register_resolvers
from vae_lightning.errors import ConfigError, DataError, UserError

Config = dict[str, Any]
Prepared = TypeVar("Prepared")


def run(
    config_name: str,
    prepare: Callable[[Config], Prepared],
    task: Callable[[Prepared], float | None],
    fetch: Callable[[Config], None] | None = None,
    own_folder: bool = True,
    after_sweep: Callable[[Path], None] | None = None,
) -> None:
    """Run a command as its user typed it.

    All jobs of the command line are composed and checked before the first one starts, so that an
    error costs no time and leaves no files.

    Args:
        config_name: a file at the top of `conf/`, without its ending.
        prepare: builds what the task needs from a resolved configuration, or raises a `UserError`;
            it downloads and writes nothing.
        task: runs one job; a sweeper optimises its return value.
        fetch: downloads the data that a resolved configuration names, before a folder is created.
        own_folder: create a folder for the job. False: the task writes where its configuration
            says, and there are no sweeps.
        after_sweep: called with the folder of a sweep when its jobs have ended, failed ones
            included.
    """
    register_resolvers()
    quiet_lightning()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # The encoding of a terminal may lack characters of our output.
            stream.reconfigure(errors="replace")
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    command = _Command(config_name, prepare, task, fetch, after_sweep)
    try:
        try:
            line = parse(sys.argv[1:])
            if line.version:
                print(f"vae_lightning {__version__}")
            elif line.help:
                print(_help(config_name, line))
            elif line.informative:
                _check_composes(config_name, line)
                command.hand_to_hydra()
            elif own_folder:
                command.run_jobs(line)
            else:
                command.run_in_place(line)
        except UserError as error:
            show(error)
            sys.exit(1)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        command.show_not_started()
        sys.exit(130)  # the status that shells use for an interrupt
    except BrokenPipeError:  # `--help | head`
        # Python flushes what is left when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)  # the status that shells use for a closed pipe
    if command.failed:
        sys.exit(1)


def fetch_data(config: Config) -> None:
    """Download the data that a configuration names.

    Raises:
        DataError: it is not available.
    """
    instantiate(config["data"], "data").prepare_data()


def _check_composes(config_name: str, line: CommandLine) -> None:
    """Refuse overrides for which Hydra would print a traceback instead of the information."""
    if line.shows_hydra_itself:
        return
    compose_job(config_name, line, line.overrides)


def _help(config_name: str, line: CommandLine) -> str:
    from vae_lightning.cli.help import Help

    shared = without_sweeps(line.overrides)
    config = compose_job(config_name, line, shared)
    folders = [Path(line.config_dir)] if line.config_dir else []
    names = {item: re.split("[@=]", item)[0] for item in shared}
    options = [item for item in shared if (CONF_DIR / names[item]).is_dir()]
    others = [item for item in shared if item not in options]
    defaults = compose_job(config_name, line, others).hydra.runtime.choices if options else {}
    shown = Help(config_name, config, defaults, folders)
    topics = line.topics + options
    return "\n\n".join(map(shown.topic, topics)) if topics else shown.overview()


@dataclass
class _Job:
    """A composed job, and what was built for it; None for a job of a sweep, which builds again."""

    config: Any
    plain: Config
    prepared: Any


class _Command:
    def __init__(
        self,
        config_name: str,
        prepare: Callable[[Config], Any],
        task: Callable[[Any], float | None],
        fetch: Callable[[Config], None] | None,
        after_sweep: Callable[[Path], None] | None = None,
    ) -> None:
        self.config_name = config_name
        self.prepare = prepare
        self.task = task
        self.fetch = fetch
        self.after_sweep = after_sweep
        self.failed = False
        self._waiting: list[str] = []

    def show_not_started(self) -> None:
        """Print the settings of the jobs of a sweep that have not been started."""
        if self._waiting:
            number = "1 job was" if len(self._waiting) == 1 else f"{len(self._waiting)} jobs were"
            print(f"{number} not started:", file=sys.stderr)
            for settings in self._waiting:
                print(f"  {settings}", file=sys.stderr)

    def run_jobs(self, line: CommandLine) -> None:
        """Check all jobs, download their data, create the folder, run.

        Raises:
            UserError: a job is refused, or its data is not available; nothing was written.
        """
        while True:
            job, folder = self._checked(line)
            if folder.make():
                break  # otherwise another process took the name in the meantime: use the next one
        sys.argv[1:] = line.arguments
        if job is None:
            self.hand_to_hydra(folder.override)
            if self.after_sweep:
                self.after_sweep(folder.path)
        else:
            self._run_alone(job)

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
            folder = OutputFolder(config, line.overrides)
            folder.set_in(config)
            plain = _without_hydra(config)
            with warnings.catch_warnings():
                if is_sweep(config.hydra):
                    warnings.simplefilter("ignore")  # the job itself shows them
                prepared = self.prepare(plain)
            if is_sweep(config.hydra) and "trainer" in plain:
                _check_one_process(plain)
            folder.check()
            # The objects of all jobs of a sweep together may not fit in memory.
            found.append(_Job(config, plain, None if is_sweep(config.hydra) else prepared))
        if is_sweep(found[0].config.hydra):
            check_job_folders([job.config for job in found])
            self._waiting = swept_settings([job.config for job in found])
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

        context = HydraContext(config_loader=None, callbacks=Callbacks(job.config))  # type: ignore[arg-type]
        result = run_job(
            lambda _: self._guarded(job.config, lambda: self.task(job.prepared)),
            config=job.config,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
            hydra_context=context,
            configure_logging=False,
        )
        # Raises what the task raised.
        _ = result.return_value

    def _job_of_sweep(self, config: Any) -> float | None:
        from hydra.core.hydra_config import HydraConfig

        job = HydraConfig.get().job
        print(f"\njob {job.num}: {job.override_dirname}", flush=True)
        del self._waiting[:1]
        return self._guarded(config, lambda: self.task(self._prepared_from_start(config)))

    def _prepared_from_start(self, config: Any) -> Any:
        # Paths are as the user wrote them, also if the job has a working directory of its own.
        with chdir(start_folder()):
            return self.prepare(to_container(config))

    def _guarded(self, config: Any, job: Callable[[], float | None]) -> float | None:
        """Run a job; show an error that the user can fix, after which a sweep continues."""
        try:
            return job()
        except UserError as error:
            self.failed = True
            show(error)
            record_error(config, error)
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            self.failed = True
            show(disk_error(error, config))
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt):  # Lightning's reaction to Ctrl-C
                raise KeyboardInterrupt from None
            raise
        return None


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
