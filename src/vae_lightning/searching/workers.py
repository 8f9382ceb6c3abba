"""The processes of a search: each asks the study for trials until there are enough."""

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess

from vae_lightning.cli.parallel import num_cores
from vae_lightning.cli.set_up import set_up
from vae_lightning.cli.signals import terminate_as_interrupt
from vae_lightning.searching.lines import Lines
from vae_lightning.searching.settings import Search
from vae_lightning.searching.study import next_trial, open_study
from vae_lightning.searching.trials import run_trial

_SECONDS_BETWEEN_LOOKS = 0.5
# For the step under way and its checkpoint, after a signal.
_SECONDS_TO_STOP = 60.0


def run_trials(search: Search, lines: Lines | None = None, worker: int = 0) -> None:
    """Run trials in this process until the study has enough.

    Args:
        search: its settings.
        lines: prints one for each trial; None if another process does.
        worker: the number of this process, from 0.
    """
    study = open_study(search, worker)
    while True:
        with next_trial(study, search) as trial:
            if trial is None:
                return
            run_trial(study, trial, search)
        if lines is not None:
            lines.show(study)


def run_in_processes(search: Search, lines: Lines) -> int:
    """Run trials in several processes, which share the cores.

    Returns:
        how many of the processes have ended before the search was done.
    """
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_work, args=(search, worker, os.getpid()))
        for worker in range(search.options["n_jobs"])
    ]
    for process in processes:
        process.start()
    study = open_study(search, worker=0)
    try:
        while any(process.is_alive() for process in processes):
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            lines.show(study)
    except KeyboardInterrupt:
        _stop(processes)
        raise
    lines.show(study)
    return sum(process.exitcode != 0 for process in processes)


def _work(search: Search, worker: int, parent: int) -> None:
    import torch

    set_up()
    terminate_as_interrupt()
    torch.set_num_threads(max(1, num_cores() // search.options["n_jobs"]))
    try:
        run_trials(search, worker=worker)
    except KeyboardInterrupt:
        sys.exit(130)


def _stop(processes: Sequence[BaseProcess]) -> None:
    """Have processes save what they are at, and wait for them."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_SECONDS_TO_STOP)
        process.kill()
