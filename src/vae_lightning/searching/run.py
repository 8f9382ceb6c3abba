"""The command `search`: its trials, its leaderboard, and the best settings."""

import shlex

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from vae_lightning.cli.error_messages import quoted
from vae_lightning.cli.paths import relative
from vae_lightning.errors import UserError
from vae_lightning.searching.lines import Lines, settings_of
from vae_lightning.searching.pictures import draw_pictures
from vae_lightning.searching.settings import Search
from vae_lightning.searching.study import ENDED, open_study
from vae_lightning.searching.trials import OVERRIDES, PROBLEM
from vae_lightning.searching.workers import run_in_processes, run_trials
from vae_lightning.summarizing.run import summarize_sweep


def search(settings: Search) -> float:
    """Run the trials that are left, and compare all of them.

    Returns:
        the best value of a trial: the mean of the best `val/elbo` of its runs, in nats.

    Raises:
        UserError: no trial has finished, or a process was killed.
    """
    options = settings.options
    study = open_study(settings, worker=0)
    before = _number_ended(study)
    resumed = f", {before} of them done already" if before else ""
    at_once = f", {options['n_jobs']} at a time" if options["n_jobs"] > 1 else ""
    print(f"{options['trials']} trials{resumed}{at_once}; each has a train.log in its folder")
    lines = Lines(study, options["trials"])
    killed = 0
    try:
        if options["n_jobs"] > 1:
            killed = run_in_processes(settings, lines)
        else:
            run_trials(settings, lines)
    except KeyboardInterrupt:
        done = _number_ended(study)
        print(f"{done} of {options['trials']} trials are done. To go on with the search:")
        print(f"  {_resume_command(settings)}", flush=True)
        raise
    best = _show_result(settings, study)
    if killed:
        processes = "1 process was" if killed == 1 else f"{killed} processes were"
        raise UserError(
            f"{processes} killed before the search was done (out of memory?): to go on, "
            f"{_resume_command(settings)}"
        )
    if best is None:
        reasons = [one.user_attrs.get(PROBLEM) for one in study.get_trials(deepcopy=False)]
        raise UserError(f"no trial has finished; the last one: {reasons[-1]}")
    return float(best.value or 0.0)


def _show_result(settings: Search, study: Study) -> FrozenTrial | None:
    """Print the leaderboard and the best settings, and draw the pictures; return the best trial."""
    summarize_sweep(settings.folder)
    for file in draw_pictures(study, settings.folder):
        print(f"wrote  {relative(file)}")
    complete = [one for one in study.get_trials(deepcopy=False) if one.state == TrialState.COMPLETE]
    if not complete:
        return None
    best = study.best_trial
    overrides = [item for item in settings.fixed if not item.startswith("-")]
    command = ["python", "-m", "vae_lightning.train", *overrides, *best.user_attrs[OVERRIDES]]
    print(f"\nbest   trial {best.number + 1}: {settings_of(best)}. To train with these settings:")
    print(f"  {shlex.join(command)}")
    return best


def _resume_command(settings: Search) -> str:
    folder = quoted(str(relative(settings.folder)))
    return shlex.join(["python", "-m", "vae_lightning.search", f"resume={folder}"])


def _number_ended(study: Study) -> int:
    return sum(one.state in ENDED for one in study.get_trials(deepcopy=False))
