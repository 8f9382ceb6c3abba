"""The best and the last checkpoint of a training that may have been resumed."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from vae_lightning.checkpoint import Checkpoint
from vae_lightning.errors import CheckpointError


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, whose best and last checkpoints are those of the whole training.

    A run that is resumed in a new folder starts with a copy of the best checkpoint so far, and
    replaces it when an epoch is better; Lightning ignores the earlier one. `last.ckpt` is saved
    after every epoch; Lightning saves it only together with the best.

    Raises:
        ValueError: `filename` is not the name of a file in `dirpath`, or is `last`.
    """

    _earlier: dict[str, Any] | None = None
    _filename: str | None = None

    # A property, because Lightning's constructor, whose many arguments are kept, sets it.
    @property
    def filename(self) -> str | None:
        """Name of the best checkpoint, without its ending; None for Lightning's own."""
        return self._filename

    @filename.setter
    def filename(self, name: str | None) -> None:
        if name is not None and (not name.strip(". ") or set(name) & set("/\\")):
            raise ValueError(
                f"filename={name} should be the name of a file: its folder is set in dirpath"
            )
        if name == self.CHECKPOINT_NAME_LAST:
            raise ValueError(f"filename={name} is the file of the last epoch: choose another name")
        self._filename = name

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Called for a test as well, which must change nothing.
        self._earlier = state_dict

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if self.save_last and not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        state, self._earlier = self._earlier, None
        if not state or not state["best_model_path"] or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        score = state["best_model_score"]
        for earlier in _candidates(state["best_model_path"], trainer.ckpt_path):
            if not self._holds(earlier, score):
                continue
            best = Path(str(self.dirpath)) / earlier.name
            if trainer.is_global_zero and earlier != best:
                best.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(earlier, best)
            self.best_model_path = str(best)
            if score is not None:
                self.best_model_score = self.kth_value = score
                self.kth_best_model_path = str(best)
                self.best_k_models = {str(best): score}
            return
        if trainer.is_global_zero:
            print(
                f"warning: {state['best_model_path']} is missing or has changed: "
                "best.ckpt will be the best of the epochs from now on",
                file=sys.stderr,
            )

    def _holds(self, path: Path, score: Any) -> bool:
        """Whether a file is the checkpoint that was the best, with this score."""
        try:
            callbacks = Checkpoint(path).content.get("callbacks", {})
        except CheckpointError:
            return False
        return bool(callbacks.get(self.state_key, {}).get("best_model_score") == score)


def _candidates(best: str, resumed: Any) -> Iterator[Path]:
    """Where the earlier best may be: next to the resumed file, or where it was saved."""
    if resumed is not None:
        yield Path(resumed).resolve().with_name(Path(best).name)
    yield Path(best)
