"""The entry of all commands: parse, run, and report user errors in one line."""

import os
import re
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import TypeVar

from vae_lightning import __version__
from vae_lightning.cli.over_runs import RunsOfFolder, over_runs
from vae_lightning.cli.overrides import (
    CommandLine,
    compose_job,
    parse,
    without_sweeps,
)
from vae_lightning.cli.resume import with_resumed_sweep
from vae_lightning.cli.running import Command, Config
from vae_lightning.cli.set_up import set_up
from vae_lightning.cli.signals import Terminated, exit_status, terminate_as_interrupt
from vae_lightning.cli.user_errors import show
from vae_lightning.config import CONF_DIR, instantiate
from vae_lightning.errors import UserError
from vae_lightning.utils.rank import rank

Prepared = TypeVar("Prepared")


def run(
    config_name: str,
    prepare: Callable[[Config], Prepared],
    task: Callable[[Prepared], float | None],
    fetch: Callable[[Config], None] | None = None,
    own_folder: bool = True,
    after_sweep: Callable[[Path], None] | None = None,
    resumable: bool = False,
    runs_of: Callable[[Config], RunsOfFolder | None] | None = None,
    rewrite: Callable[[CommandLine], CommandLine] | None = None,
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
        resumable: a job leaves checkpoints to go on from, and `resume` names a sweep that goes on.
        runs_of: the runs in the folder that `ckpt_path` names, for each of which the command runs;
            None if it is no folder of runs.
        rewrite: makes the command line that is run of the one that was typed.
    """
    set_up()
    terminate_as_interrupt()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # The encoding of a terminal may lack characters of our output.
            stream.reconfigure(errors="replace")
    command = Command(config_name, prepare, task, fetch, False, after_sweep, resumable)
    try:
        try:
            line = parse(sys.argv[1:])
            if resumable:
                line = with_resumed_sweep(config_name, line)
            if rewrite:
                line = rewrite(line)
            if line.version:
                print(f"vae_lightning {__version__}")
            elif line.help:
                print(_help(config_name, line))
            elif line.informative:
                _check_composes(config_name, line)
                command.hand_to_hydra()
            elif own_folder:
                if rank() == 0:
                    command.first_line = f"vae_lightning {__version__} {config_name}"
                if runs_of and (several := over_runs(command, line, runs_of)):
                    several.run()
                else:
                    command.run_jobs(line)
            else:
                command.run_in_place(line)
        except UserError as error:
            show(error)
            sys.exit(1)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        print("terminated" if isinstance(interrupt, Terminated) else "interrupted", file=sys.stderr)
        command.show_rest()
        sys.exit(exit_status(interrupt))
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
