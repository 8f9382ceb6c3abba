"""A line for each trial that ends."""

import time

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from vae_lightning.config.job_names import job_title
from vae_lightning.objectives.objective import SCORE
from vae_lightning.searching.study import ENDED
from vae_lightning.searching.trials import OVERRIDES, PROBLEM
from vae_lightning.utils.progress import duration


class Lines:
    """Prints a line for each trial that ends from now on.

    Args:
        study: of the search.
        total: number of trials in all.
    """

    def __init__(self, study: Study, total: int) -> None:
        self._total = total
        self._shown = {one.number for one in _ended(study)}
        self._before = len(self._shown)
        self._started = time.perf_counter()

    def show(self, study: Study) -> None:
        """Print the lines of the trials that have ended since the last call."""
        ended = _ended(study)
        for trial in ended:
            if trial.number not in self._shown:
                self._shown.add(trial.number)
                print(self._line(trial, ended), flush=True)

    def _line(self, trial: FrozenTrial, ended: list[FrozenTrial]) -> str:
        parts = [f"trial {trial.number + 1} of {self._total}: {settings_of(trial)}"]
        if trial.state == TrialState.COMPLETE:
            parts.append(f"{SCORE} {trial.value:.2f}")
        else:
            failed = "failed: " if trial.state == TrialState.FAIL else ""
            parts.append(f"{failed}{trial.user_attrs.get(PROBLEM)}")
        complete = [one for one in ended if one.state == TrialState.COMPLETE]
        best = max(complete, key=lambda one: one.value or 0.0, default=None)
        if best is trial:
            parts.append("best so far")
        elif best is not None:
            parts.append(f"best {best.value:.2f} (trial {best.number + 1})")
        done = len(self._shown) - self._before
        left = self._total - len(self._shown)
        if left > 0:
            seconds = (time.perf_counter() - self._started) / done * left
            parts.append(f"{duration(seconds)} left")
        return " · ".join(parts)


def settings_of(trial: FrozenTrial) -> str:
    """The searched settings of a trial, in a line."""
    overrides = trial.user_attrs.get(OVERRIDES, [])
    return job_title(dict(item.split("=", 1) for item in overrides))


def _ended(study: Study) -> list[FrozenTrial]:
    return [one for one in study.get_trials(deepcopy=False) if one.state in ENDED]
