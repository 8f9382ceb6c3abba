"""Ctrl-C and SIGTERM finish the step, save a checkpoint and print how to resume.

In a job of submitit, the signal that it queues a job again on saves a checkpoint first.
"""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer

from vae_lightning.cli.resume import resume_command
from vae_lightning.cli.signals import interrupt_of, is_of_cluster, requeue_signals
from vae_lightning.utils.processes import Agreement
from vae_lightning.utils.steps import completes_step

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SaveOnInterrupt(Callback):
    """Stops at the end of a step on Ctrl-C or SIGTERM, saves `last.ckpt`, prints how to resume.

    A run resumed from that checkpoint ends bit for bit as one that was never interrupted. A second
    signal stops immediately, without saving. A signal by which a cluster announces that it ends the
    job saves as well; what happens then is up to the launcher that has started the job.

    Args:
        dirpath: folder of the checkpoint.
    """

    def __init__(self, dirpath: str) -> None:
        self.path = Path(dirpath) / "last.ckpt"
        self._requested: int | None = None
        self._stopped_after_step = False
        self._agreement = Agreement()
        self._previous_handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._requested = None
        self._agreement = Agreement()
        if threading.current_thread() is threading.main_thread():  # which receives signals
            self._previous_handlers = {
                signum: signal.signal(signum, self._request_stop)
                for signum in (*_SIGNALS, *requeue_signals())
            }

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # After the last step of an epoch the epoch is finished first, and the next step stops.
        # Gradients that are accumulated are not saved: their step is finished first as well.
        if trainer.is_last_batch or not completes_step(trainer, batch_idx):
            return
        received = self._agreement.on_signal(trainer.global_step, self._requested)
        if received is None:
            return
        if is_of_cluster(received):
            self._save_and_hand_on(trainer, received)
        else:
            self._stopped_after_step = True
            raise interrupt_of(received)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._restore()
        if not self._stopped_after_step:
            return
        trainer.save_checkpoint(self.path, weights_only=False)
        if trainer.is_global_zero:
            command = resume_command(self.path)
            way_on = f" To go on:\n  {command}" if command else ""
            print(f"\nStopped at step {trainer.global_step}.{way_on}", flush=True)

    def _save_and_hand_on(self, trainer: Trainer, signum: int) -> None:
        """Save a checkpoint; then submitit queues the job again, or it runs until it is killed."""
        trainer.save_checkpoint(self.path, weights_only=False)
        print(f"Saved at step {trainer.global_step}: the cluster ends this job.", flush=True)
        self._requested = None
        if signum in requeue_signals():
            self._restore()
            signal.raise_signal(signum)

    def _request_stop(self, signum: int, frame: FrameType | None) -> None:
        if not is_of_cluster(signum):
            self._requested = signum
            self._restore()
        elif self._requested is None or signum in requeue_signals():
            self._requested = signum

    def _restore(self) -> None:
        for signum, handler in self._previous_handlers.items():
            signal.signal(signum, handler)
        self._previous_handlers = {}
