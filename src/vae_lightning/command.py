"""What every command shares: check all jobs first, then let Hydra run them; errors in one line."""

import argparse
import errno
import os
import re
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vae_lightning.config import CONF_DIR, instantiate, to_container
from vae_lightning.errors import ConfigError, DataError, UserError
from vae_lightning.mistakes import quoted
from vae_lightning.overrides import (
    compose_job,
    is_sweep,
    jobs,
    output_folder,
    parse,
    without_sweeps,
)
from vae_lightning.resolvers import folders_made, register_resolvers

Config = dict[str, Any]

# What a full or closed disk answers; other errors of the system are mistakes of the program.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def run(
    config_name: str, check: Callable[[Config], Any], task: Callable[[Config], float | None]
) -> None:
    """Run a command as its user typed it.

    Every job that the command line asks for is composed and checked before the first one starts,
    so that a mistake costs no time and leaves no files.

    Args:
        config_name: a file at the top of `conf/`, without its ending.
        check: refuses a resolved configuration that cannot run, with a `UserError`; no side effect.
        task: runs one; what it returns is what a sweeper optimises.
    """
    import hydra

    register_resolvers()
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    failed = False

    def job(config: Any) -> float | None:
        nonlocal failed
        _announce_job()
        try:
            return task(to_container(config))
        except UserError as error:
            # A sweep goes on with its other jobs.
            failed = True
            _show(error)
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise
            failed = True
            _show(_disk_error(error, config))
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt):  # how Lightning ends on Ctrl-C
                raise KeyboardInterrupt from None
            raise
        return None

    try:
        try:
            flags = parse(sys.argv[1:])
            if not flags.informative:
                sys.argv[1:] = [*flags.rest, *_checked(config_name, flags, check)]
            elif not flags.other:
                if flags.help:
                    flags.overrides = without_sweeps(flags.overrides)
                    sys.argv[1:] = [*flags.rest, *flags.overrides]
                compose_job(config_name, flags, flags.overrides)
        except UserError as error:
            _show(error)
            sys.exit(1)
        main = hydra.main(config_path=str(CONF_DIR), config_name=config_name, version_base="1.3")
        try:
            with folders_made():
                main(job)()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)  # as a shell counts an interrupt
    except BrokenPipeError:  # `--help | head`
        # Python writes what is left when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)  # as a shell counts a closed pipe
    if failed:
        sys.exit(1)


def _announce_job() -> None:
    """In a sweep, say which job begins."""
    from hydra.core.hydra_config import HydraConfig

    settings = HydraConfig.get()
    if is_sweep(settings):
        print(f"\njob {settings.job.num}: {settings.job.override_dirname}", flush=True)


def resume_command(checkpoint: Path) -> str:
    """The shell command that goes on from a checkpoint, with the settings of the present run."""
    from hydra.core.hydra_config import HydraConfig

    arguments = sys.argv[1:]
    if HydraConfig.initialized() and is_sweep(HydraConfig.get()):
        # The one job, not the sweep that a file of hparams_search/ is.
        flags = [item for item in parse(arguments).rest if item not in ("-m", "--multirun")]
        arguments = [*flags, *HydraConfig.get().overrides.task, "hydra.mode=RUN"]
    arguments = [item for item in arguments if not item.lstrip("+").startswith("ckpt_path=")]
    spec = sys.modules["__main__"].__spec__
    module = spec.name if spec else "vae_lightning.train"
    setting = f"ckpt_path={quoted(str(checkpoint))}"
    return shlex.join(["python", "-m", module, *arguments, setting])


def short(path: str | Path) -> Path:
    """Relative to where the command runs, where it lies below."""
    here, full = Path.cwd(), Path(path).absolute()
    return full.relative_to(here) if full.is_relative_to(here) else Path(path)


def _show(error: UserError) -> None:
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        import traceback

        traceback.print_exception(error)
    else:
        print(f"error: {error}", file=sys.stderr)


def _disk_error(error: OSError, config: Any) -> UserError:
    folder = str(config.paths.run_dir)
    setting = _folder_setting(config)
    # A copy has two names, the second of what is written. A write has none, and Lightning writes a
    # checkpoint to the folder of temporary files first.
    place = error.filename2 or error.filename or f"{folder} or {tempfile.gettempdir()}"
    shown = UserError(
        f"{place} cannot be written: {error.strerror}: make room, or set {setting} "
        f"to another disk; {folder} keeps what was saved"
    )
    shown.__cause__ = error
    return shown


def _checked(
    config_name: str, flags: argparse.Namespace, check: Callable[[Config], Any]
) -> list[str]:
    """The overrides, once every job has been checked and its data can be had."""
    from omegaconf import OmegaConf

    checked: list[tuple[str, Config]] = []
    for job in jobs(config_name, flags):
        config = compose_job(config_name, flags, [*job, "paths.run_dir=unused"])
        choice = config.hydra.runtime.choices.get("data")
        sweep = is_sweep(config.hydra)
        plain = to_container(
            OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run itself gives them
            check(plain)
        if sweep and "trainer" in plain:
            _check_one_process(plain)
        folder = output_folder(config.hydra)
        _check_writable(folder, _folder_setting(plain))
        if plain.get("train"):
            _check_unused(folder)
        checked.append((choice, plain))
    for choice, plain in checked:
        if problem := _data_problem(plain):
            fallback = plain.get("data_fallback")
            if fallback in (None, choice):
                raise problem
            missing = instantiate(plain["data"], "data").source.title
            print(f"warning: data={fallback} instead of {missing}: {problem}", file=sys.stderr)
            flags.overrides = _replaced(flags.overrides, choice, fallback)
            return _checked(config_name, flags, check)
    return flags.overrides


def _check_one_process(config: Config) -> None:
    from vae_lightning.compatibility import processes_started

    if (processes := processes_started(config["trainer"])) > 1:
        raise ConfigError(
            f"a run on {processes} devices starts a process for each, which would run the whole "
            "sweep again: set trainer.devices=1, or start the jobs one by one without -m"
        )


def _folder_setting(config: Any) -> str:
    """By which key the user says where results go."""
    return "output_dir" if "output_dir" in config else "paths.output_dir"


def _check_writable(folder: Path, setting: str) -> None:
    """Refuse a folder that could not be made or written to, by trying where it would be."""
    if folder.parts[:1] == ("~",):
        raise ConfigError(f"{folder} would be a folder named ~: write {folder.expanduser()}")
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryDirectory(dir=there):
            pass
    except OSError as error:
        raise ConfigError(
            f"the folder {folder} cannot be made: {error.strerror}: set {setting} to where one can"
        ) from error


def _check_unused(folder: Path) -> None:
    """Refuse to train into the folder of another run."""
    if (folder / "metrics.json").exists() or any(folder.glob("checkpoints/*.ckpt")):
        raise ConfigError(f"{folder} holds a run already, which this one would overwrite")


def _replaced(overrides: list[str], choice: str, fallback: str) -> list[str]:
    if not any(item.startswith("data=") for item in overrides):  # an experiment chose it
        return [*overrides, f"data={fallback}"]
    return [
        re.sub(rf"\b{choice}\b", fallback, item) if item.startswith("data=") else item
        for item in overrides
    ]


def _data_problem(config: Config) -> DataError | None:
    """Why the images cannot be had, of a command that is told where they come from."""
    if "_target_" not in config.get("data", {}):
        return None
    try:
        instantiate(config["data"], "data").prepare_data()
    except DataError as error:
        return error
    return None
