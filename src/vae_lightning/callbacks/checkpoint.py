"""Checkpoints of a run, and of the runs that it goes on from."""

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
    """Lightning's ModelCheckpoint, with a best and a last that are so of the whole training.

    A run that is resumed in a folder of its own starts with a copy of the best checkpoint so far,
    and replaces it when an epoch is better. Lightning would forget the earlier one. The last
    checkpoint is of the last epoch; Lightning would keep that of the best one as the last as well.
    """

    _earlier: dict[str, Any] | None = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Called for a test as well, which is to change nothing.
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
        for earlier in _places(state["best_model_path"], trainer.ckpt_path):
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
                f"warning: {state['best_model_path']} is not there as it was: "
                "the best checkpoint will be the best since now",
                file=sys.stderr,
            )

    def _holds(self, path: Path, score: Any) -> bool:
        """Whether a file is the best checkpoint that was saved with a score, and no other since."""
        try:
            callbacks = Checkpoint(path).content.get("callbacks", {})
        except CheckpointError:
            return False
        return bool(callbacks.get(self.state_key, {}).get("best_model_score") == score)


def _places(best: str, resumed: Any) -> Iterator[Path]:
    """Where the earlier best may be: beside what is resumed, as folders get moved, or as noted."""
    if resumed is not None:
        yield Path(resumed).resolve().with_name(Path(best).name)
    yield Path(best)
