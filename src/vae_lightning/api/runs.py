"""What commands leave: their folder, metrics and files; of a training run, its model and data."""

import json
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_lightning.cli.paths import relative
from vae_lightning.errors import CheckpointError, UserError

if TYPE_CHECKING:  # loaded when it is asked for
    from vae_lightning.api.images import RunData
    from vae_lightning.checkpoint import Checkpoint
    from vae_lightning.models import Model

# The file of facts and figures that each command writes.
_RECORDS = ("metrics.json", "detect.json", "table.json", "generate.json", "model.json")


class Result:
    """What a command left. It can be used wherever a path of its folder can.

    Args:
        folder: of the command's files.

    Attributes:
        folder: absolute.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser().absolute()

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What the command's JSON file holds: metrics in nats by tag, and the settings behind them.

        Raises:
            UserError: the command has written none, or was stopped before.
        """
        for name in _RECORDS:
            if (self.folder / name).is_file():
                return json.loads((self.folder / name).read_text(encoding="utf-8"))
        raise UserError(f"{self.folder} holds no metrics: the run was stopped, or was a trial")

    @property
    def files(self) -> list[Path]:
        """The files in the folder and below it, sorted, without those of Hydra in `.hydra/`."""
        found = (file for file in self.folder.rglob("*") if file.is_file())
        return sorted(file for file in found if ".hydra" not in file.parts)

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(relative(self.folder))!r})"


class Run(Result):
    """A training run: its folder, metrics, model and data, each read when it is first asked for."""

    @cached_property
    def checkpoint(self) -> "Checkpoint":
        """The best checkpoint, or the last one if there is no best one.

        Raises:
            CheckpointError: there is none.
        """
        from vae_lightning.checkpoint import Checkpoint

        return Checkpoint(self.folder)

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return self.checkpoint.config

    @cached_property
    def model(self) -> "Model":
        """The model of `checkpoint`, in evaluation mode on the CPU."""
        return self.checkpoint.model()

    @cached_property
    def data(self) -> "RunData":
        """The images of the run: `data.train`, `data.val`, `data.test` and `data.held_out`."""
        from vae_lightning.api.images import RunData

        return RunData(self.checkpoint)


def load_run(folder: str | os.PathLike[str]) -> Run:
    """A training run that is on disk: its metrics, model and data.

    Args:
        folder: of the run. For the model of a single checkpoint, use `load`.

    Raises:
        CheckpointError: it is not the folder of a run.
    """
    run = Run(folder)
    if run.folder.is_file():
        raise CheckpointError(f"{folder} is a file: name the folder of its run, or use load")
    if not run.folder.is_dir():
        raise CheckpointError(f"{folder} does not exist")
    if not any((run.folder / name).exists() for name in ("checkpoints", "metrics.json")):
        raise CheckpointError(
            f"{folder} is not the folder of a run: there is no checkpoints/ in it"
        )
    return run
