"""One trial: its runs, its value, and the end of a hopeless one."""

import os
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from optuna import Study, Trial, TrialPruned
from optuna.trial import TrialState

from vae_lightning.cli.command import fetch_data
from vae_lightning.cli.error_messages import quoted
from vae_lightning.cli.job_state import is_finished, last_checkpoint, record_error, score
from vae_lightning.cli.overrides import parse
from vae_lightning.cli.running import Command
from vae_lightning.config.job_names import job_folder
from vae_lightning.errors import UserError
from vae_lightning.objectives.objective import SCORE
from vae_lightning.searching.settings import Search
from vae_lightning.training import run as training
from vae_lightning.training.build import Run, build

# Attributes of trials in the study.
OVERRIDES = "overrides"
PROBLEM = "problem"


def run_trial(study: Study, trial: Trial, search: Search) -> None:
    """Run a trial and tell the study its value, that it was pruned, or that it has failed.

    Raises:
        KeyboardInterrupt: it was stopped, and goes on when the search does.
    """
    values = {one.key: one.suggest(trial) for one in search.space}
    settings = [f"{key}={value}" for key, value in values.items()]
    trial.set_user_attr(OVERRIDES, settings)
    seeds = range(search.seed, search.seed + search.options["seeds"])
    found = []
    for seed in seeds:
        shown: dict[str, object] = {**values, **({"seed": seed} if len(seeds) > 1 else {})}
        folder = search.folder / job_folder(trial.number, shown)
        try:
            first = trial if seed == search.seed else None
            found.append(_run([*search.fixed, *settings, f"seed={seed}"], folder, search, first))
        except TrialPruned as pruned:
            _end(study, trial, folder, TrialState.PRUNED, str(pruned))
            return
        except UserError as error:
            _end(study, trial, folder, TrialState.FAIL, str(error))
            return
        except Exception as error:  # a bug, or memory, or a disk: the next trial may do
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            _end(study, trial, folder, TrialState.FAIL, reason)
            return
    study.tell(trial, sum(found) / len(found))


def _run(overrides: list[str], folder: Path, search: Search, trial: Trial | None) -> float:
    """Train a run of a trial, or go on with it.

    Args:
        overrides: of the run.
        folder: of the run.
        search: its settings.
        trial: is pruned by the curve of the run; None: it is not.

    Returns:
        the best `val/elbo`, in nats.

    Raises:
        TrialPruned: it is hopeless.
        UserError: it has failed.
    """

    def task(run: Run) -> float | None:
        if trial is not None:
            run.trainer.callbacks.append(_Prune(trial))  # type: ignore[attr-defined]
        with training.logged(run):
            return training.train(run).elbo

    if not is_finished(folder, evaluates=False):
        overrides = [*overrides, f"hydra.run.dir={quoted(str(folder))}"]
        if last := last_checkpoint(folder):
            overrides.append(f"ckpt_path={quoted(str(last))}")
        command = Command("train", build, task, fetch_data if search.fetches else None, True)
        arguments = sys.argv[1:]
        with ExitStack() as stack:
            null = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(null))
            stack.enter_context(redirect_stderr(null))
            stack.callback(sys.argv.__setitem__, slice(1, None), arguments)
            command.run_jobs(parse(overrides))
    value = score(folder)
    if value is None:
        raise UserError("it has no val/elbo")
    return value


def _end(study: Study, trial: Trial, folder: Path, state: TrialState, reason: str) -> None:
    trial.set_user_attr(PROBLEM, reason)
    record_error(folder, reason)
    study.tell(trial, state=state)


class _Prune(Callback):
    """Tells a study `val/elbo` after each epoch, and ends a trial that the study prunes.

    Args:
        trial: of the study.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        value: Any = trainer.callback_metrics.get(SCORE)
        if trainer.sanity_checking or value is None:
            return
        epoch = trainer.current_epoch + 1
        self._trial.report(float(value), epoch)
        if self._trial.should_prune():
            raise TrialPruned(f"pruned after epoch {epoch}, {SCORE} {float(value):.2f}")
