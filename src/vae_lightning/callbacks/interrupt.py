"""Ctrl-C finishes the step, saves a checkpoint and prints how to resume."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer

from vae_lightning.cli.resume import resume_command
from vae_lightning.utils.processes import Agreement
from vae_lightning.utils.steps import completes_step


class SaveOnInterrupt(Callback):
    """Stops at the end of a step on Ctrl-C, saves `last.ckpt`, and prints how to resume.

    A run resumed from that checkpoint ends bit for bit as one that was never interrupted. A second
    Ctrl-C stops immediately, without saving.

    Args:
        dirpath: folder of the checkpoint.
    """

    def __init__(self, dirpath: str) -> None:
        self.path = Path(dirpath) / "last.ckpt"
        self._stop_requested = False
        self._stopped_after_step = False
        self._agreement = Agreement()
        self._previous_handler: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_requested = False
        self._agreement = Agreement()
        try:
            self._previous_handler = signal.signal(signal.SIGINT, self._request_stop)
        except ValueError:  # only the main thread receives signals
            self._previous_handler = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # After the last step of an epoch the epoch is finished first, and the next step stops.
        # Gradients that are accumulated are not saved: their step is finished first as well.
        if trainer.is_last_batch or not completes_step(trainer, batch_idx):
            return
        received = self._agreement.on_signal(
            trainer.global_step, signal.SIGINT if self._stop_requested else None
        )
        if received is not None:
            self._stopped_after_step = True
            raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._restore()
        if not self._stopped_after_step:
            return
        trainer.save_checkpoint(self.path)
        if trainer.is_global_zero:
            resume = resume_command(self.path)
            print(f"\nStopped at step {trainer.global_step}. To go on:\n  {resume}")

    def _request_stop(self, signum: int, frame: FrameType | None) -> None:
        self._stop_requested = True
        self._restore()

    def _restore(self) -> None:
        if self._previous_handler is not None:
            signal.signal(signal.SIGINT, self._previous_handler)
            self._previous_handler = None
