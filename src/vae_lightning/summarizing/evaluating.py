"""The runs that `evaluate` measures if it is given the folder of a sweep."""

from functools import partial
from pathlib import Path
from typing import Any

from vae_lightning.cli.over_runs import RunsOfFolder
from vae_lightning.summarizing.cells import run_text
from vae_lightning.summarizing.run import summarize_sweep
from vae_lightning.summarizing.runs import runs_below
from vae_lightning.summarizing.settings import differing_keys


def runs_to_evaluate(config: Any) -> RunsOfFolder | None:
    """The runs below `ckpt_path`, if it is a folder that is no run itself.

    Args:
        config: of `evaluate`.
    """
    path = config["ckpt_path"]
    runs = runs_below(path) if isinstance(path, str) else []
    if not runs:
        return None
    keys = differing_keys(runs)
    folder = Path(path).expanduser()
    metric = f"{config['split']}/nll" if "likelihood" in config["parts"] else None
    return RunsOfFolder(
        folder,
        {run.folder: run_text(run, keys) for run in runs if run.problem is None},
        [run.folder for run in runs if run.problem is not None],
        partial(summarize_sweep, folder, metric),
    )
