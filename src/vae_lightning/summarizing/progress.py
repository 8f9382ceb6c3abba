"""How far runs without a result have come."""

import time
from collections.abc import Sequence
from pathlib import Path

from vae_lightning.summarizing.cells import duration
from vae_lightning.summarizing.curves import curve
from vae_lightning.summarizing.runs import NOT_FINISHED, RunRecord

_TAG = "val/elbo"


def describe_unfinished(runs: Sequence[RunRecord]) -> None:
    """Add to the problem of each unfinished run its last epoch, its `val/elbo`, and its age."""
    for run in runs:
        if run.problem != NOT_FINISHED:
            continue
        parts = [NOT_FINISHED]
        if points := curve(run.folder, _TAG):
            epoch, value = points[-1]
            total = run.settings.get("trainer.max_epochs")
            parts.append(f"epoch {epoch:.0f} of {total}, {_TAG} {value:.2f}")
        parts.append(f"last written {duration(time.time() - _last_written(run.folder))} ago")
        run.problem = "; ".join(parts)


def _last_written(folder: Path) -> float:
    times = [folder.stat().st_mtime]
    times += [file.stat().st_mtime for file in folder.glob("*/*") if file.is_file()]
    return max(times)
