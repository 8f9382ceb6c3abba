"""Ctrl-C: finish the step, save, and say how to go on."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer

from vae_lightning.cli.resume import resume_command


class SaveOnInterrupt(Callback):
    """Stops at the end of a step on Ctrl-C, saves `last.ckpt`, and prints how to resume.

    A run that is resumed from it goes on as if it had never stopped. A second Ctrl-C stops at once,
    without saving.

    Args:
        dirpath: folder of the checkpoint.
    """

    def __init__(self, dirpath: str) -> None:
        self.path = Path(dirpath) / "last.ckpt"
        self._asked = False
        self._orderly = False
        self._before: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._asked = False
        try:
            self._before = signal.signal(signal.SIGINT, self._ask)
        except ValueError:  # not in the main thread, where no signal arrives either
            self._before = None

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        # The last step of an epoch goes on to the epoch's end, and the next step stops.
        if self._asked and not trainer.is_last_batch:
            self._orderly = True
            raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._restore()
        if not self._orderly:
            return
        trainer.save_checkpoint(self.path)
        if trainer.is_global_zero:
            resume = resume_command(self.path)
            print(f"\nStopped at step {trainer.global_step}. To go on:\n  {resume}")

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        self._asked = True
        self._restore()

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
