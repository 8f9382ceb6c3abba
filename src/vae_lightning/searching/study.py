"""Optuna's study of a search: its file, its sampler and its pruner."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna import Study, Trial
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from vae_lightning.searching.command_line import STUDY_FILE
from vae_lightning.searching.settings import Search

_NAME = "search"
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def open_study(search: Search, worker: int) -> Study:
    """Open the study of a search, or create it.

    Args:
        search: its settings.
        worker: the number of the process, from 0: each draws values of its own.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    storage = JournalStorage(JournalFileBackend(str(search.folder / STUDY_FILE)))
    with FileLock(search.folder / ".study.lock"):
        study = optuna.create_study(
            storage=storage, study_name=_NAME, direction="maximize", load_if_exists=True
        )
    done = len(study.get_trials(deepcopy=False))
    study.sampler = _sampler(search, [search.seed, done, worker])
    study.pruner = _pruner(search)
    return study


@contextmanager
def next_trial(study: Study, search: Search) -> Iterator[Trial | None]:
    """A trial that no other process runs, until the block ends; None if there are enough.

    One that was under way when its process was killed comes first.
    """
    lock = None
    try:
        # Between the count of the trials and the next one, no other process may ask for one.
        with FileLock(search.folder / ".ask.lock"):
            trial = None
            trials = study.get_trials(deepcopy=False)
            for left in trials:
                if left.state == TrialState.RUNNING and (lock := _locked(search.folder, left)):
                    trial = Trial(study, left._trial_id)
                    break
            if trial is None and len(trials) < search.options["trials"]:
                trial = study.ask()
                lock = _locked(search.folder, trial)
        yield trial
    finally:
        if lock is not None:
            lock.release()


def _locked(folder: Path, trial: Trial | FrozenTrial) -> FileLock | None:
    """The lock of a trial; None if another process, on any machine, holds it."""
    lock = FileLock(folder / f".trial_{trial.number}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _sampler(search: Search, seeds: list[int]) -> BaseSampler:
    seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
    if search.options["sampler"] == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed)


def _pruner(search: Search) -> BasePruner:
    if search.options["pruner"] == "none":
        return NopPruner()
    # A small learning rate is behind at first, and may win.
    return MedianPruner(n_startup_trials=5, n_warmup_steps=max(2, search.max_epochs // 5))
