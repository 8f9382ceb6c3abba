"""Optuna's pictures of a study."""

import warnings
from pathlib import Path

from optuna import Study
from optuna.trial import TrialState

from vae_lightning.objectives.objective import SCORE

# Fewer say nothing of what matters.
_MIN_TRIALS = 4


def draw_pictures(study: Study, folder: Path) -> list[Path]:
    """Draw the history of a search, and how much each parameter matters, of enough trials.

    Args:
        study: of the search.
        folder: of the files.

    Returns:
        the files.
    """
    complete = [one for one in study.get_trials(deepcopy=False) if one.state == TrialState.COMPLETE]
    if len(complete) < _MIN_TRIALS:
        return []
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from optuna.visualization import matplotlib as optuna_plots

    files = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls these experimental
        with mpl.rc_context({"figure.figsize": (7, 4), "figure.dpi": 130}):
            for name, draw in (
                ("history", optuna_plots.plot_optimization_history),
                ("importances", optuna_plots.plot_param_importances),
            ):
                draw(study, target_name=SCORE)
                figure = plt.gcf()
                figure.tight_layout()
                files.append(folder / f"search_{name}.png")
                figure.savefig(files[-1])
                plt.close(figure)
    return files
