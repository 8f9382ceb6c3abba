"""The progress of a training in the terminal."""

import math
import time
from contextlib import ExitStack
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import ProgressBar as LightningProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from vae_lightning.utils.progress import LinesAtTimes, duration, live, on_terminal, progress

# Drawing a bar takes 1 to 3 ms, and a step of the default run 4 to 12.
_SECONDS_BETWEEN_DRAWINGS = 0.5
# Columns of the bar alone: it is left out where the numbers leave it less.
_MIN_WIDTH, _MAX_WIDTH = 4, 24


class ProgressBar(LightningProgressBar):
    """A bar for the current epoch and a line for each finished epoch, with the elbo.

    The bar has the mean elbo between the last two log points, images per second, and the time left
    of the epoch and of the run. It is drawn twice a second, and reads nothing from the device.
    The time left of a run that may stop early is that until its last epoch. Where the output is not
    a terminal, lines are printed instead, ever fewer of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._console = Console(highlight=False)
        self._shown = ExitStack()
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._lines = LinesAtTimes()
        self._run = _Pace()
        self._epoch = _Pace()
        self._due = 0.0
        self._validated = False
        self._advance: Any = None

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._run, self._epoch = _Pace(), _Pace()  # a resumed epoch has no on_train_epoch_start
        self._lines = LinesAtTimes()
        if self._enabled and on_terminal():
            columns = [
                TextColumn("{task.description}"),
                BarColumn(_MAX_WIDTH),
                TextColumn("{task.fields[text]}"),
            ]
            self._bar = self._shown.enter_context(live(*columns, auto_refresh=False))
            self._task = self._bar.add_task(_name(trainer), text="")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._epoch = _Pace()
        self._draw(trainer, 0.0, "")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._run.batches += 1
        self._epoch.batches += 1
        now = time.perf_counter()
        if now < self._due or not self._enabled:
            return
        self._due = now + _SECONDS_BETWEEN_DRAWINGS
        total = trainer.num_training_batches
        texts = []
        if "elbo" in pl_module.recent_means:
            texts.append(f"elbo {pl_module.recent_means['elbo']:.2f}")
        images = self._epoch.batches * len(batch[0]) * trainer.world_size
        texts.append(f"{images / self._epoch.seconds:,.0f} images/s")
        left = f"{duration(self._epoch.left(total - batch_idx - 1))} left"
        if math.isfinite(batches := _batches_left(trainer, batch_idx)):
            left += f" (run {duration(self._run.left(batches))})"
        texts.append(left)
        if self._bar is not None:
            self._draw(trainer, (batch_idx + 1) / total, *texts)
        elif self._lines.due():
            self._lines.print(
                f"{_name(trainer)}: {(batch_idx + 1) / total:.0%}, {', '.join(texts)}"
            )

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._draw(trainer, 1.0, "validation")

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not self._enabled:
            return
        texts = [_name(trainer), f"elbo {pl_module.epoch_means()['elbo']:.2f}"]
        if self._validated:  # in this epoch; callback_metrics keeps older values
            texts.append(f"val/elbo {float(trainer.callback_metrics['val/elbo']):.2f}")
        self._validated = False
        texts.append(f"{self._epoch.seconds:.1f} s")
        left = _batches_left(trainer, trainer.num_training_batches - 1)
        if 0 < left < math.inf and not trainer.should_stop and self._run.batches:
            texts.append(f"{duration(self._run.left(left))} left")
        if self._bar is not None:
            self._bar.stop()
        self._console.print("  ".join(texts), soft_wrap=True)
        if self._bar is not None:
            self._draw(trainer, 1.0, "pictures and checkpoints", refresh=False)
            self._bar.start()

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._stop()

    def on_test_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self._enabled:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            most = sum(trainer.num_test_batches) * data.eval_batch_size * trainer.world_size
            total = int(min(most, data.num_images["test"]))
            self._advance = self._shown.enter_context(progress("images tested", total))

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._advance is not None:
            self._advance(len(batch[0]) * trainer.world_size)

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        self._stop()

    def _draw(self, trainer: Trainer, done: float, *texts: str, refresh: bool = True) -> None:
        """Draw the bar, without the first of the texts if there is not enough room."""
        if self._bar is None:
            return
        name, width = _name(trainer), self._bar.console.width
        shown = [text for text in (f"{done:>4.0%}", *texts) if text]
        while len(shown) > 2 and len(name) + len("  ".join(shown)) + 2 > width:
            del shown[1]
        text = "  ".join(shown)
        room = width - len(name) - len(text) - 2
        bar: Any = self._bar.columns[1]
        bar.bar_width = min(room, _MAX_WIDTH) if room >= _MIN_WIDTH else 1
        self._bar.update(self._task, description=name, completed=100 * done, text=text)
        if refresh:
            self._bar.refresh()

    def _stop(self) -> None:
        self._shown.close()
        self._bar = self._advance = None


class _Pace:
    """How long batches take.

    Attributes:
        batches: done so far.
    """

    def __init__(self) -> None:
        self.batches = 0
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def left(self, batches: float) -> float:
        """The seconds that further batches will take."""
        return self.seconds * batches / self.batches


def _batches_left(trainer: Any, batch_idx: float) -> float:
    """Batches of the run after this one of the current epoch; infinity if there is no limit."""
    left = math.inf
    if trainer.max_epochs not in (None, -1):
        epochs = trainer.max_epochs - trainer.current_epoch
        left = epochs * trainer.num_training_batches - batch_idx - 1
    if trainer.max_steps != -1:
        steps = trainer.max_steps - trainer.global_step
        left = min(left, steps * trainer.accumulate_grad_batches)
    return left


def _name(trainer: Trainer) -> str:
    # Counted from one, as in the file names of the pictures.
    epoch = trainer.current_epoch + 1
    if trainer.max_epochs == -1:  # no limit
        return f"epoch {epoch}"
    return f"epoch {epoch:>{len(str(trainer.max_epochs))}}/{trainer.max_epochs}"
