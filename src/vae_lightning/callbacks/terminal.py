"""The model summary and the progress bar in the terminal."""

import time
from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar as LightningProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from vae_lightning.utils.steps import is_log_point


class ModelSummary(Callback):
    """Prints the parts of the model and their numbers of parameters before training."""

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        table = Table("part", "is a", "parameters", show_edge=False)
        table.columns[2].justify = "right"
        total = 0
        for name, part in pl_module.model.named_children():
            count = sum(parameter.numel() for parameter in part.parameters())
            total += count
            table.add_row(name, type(part).__name__, f"{count:,}")
        table.add_section()
        table.add_row("model", type(pl_module.model).__name__, f"{total:,}")
        Console(highlight=False).print(table)


class ProgressBar(LightningProgressBar):
    """A bar for the current epoch and a line for each finished epoch, with the elbo.

    The bar is updated every `trainer.log_every_n_steps` steps. Where the output is not a terminal,
    only the lines are printed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._console = Console(highlight=False)
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._started = 0.0
        self._validated = False

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._started = time.perf_counter()  # a resumed epoch does not call on_train_epoch_start

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._started = time.perf_counter()
        if not (self._enabled and self._console.is_terminal):
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[elbo]}"),
            console=self._console,
            auto_refresh=False,
            transient=True,
            # Redirecting would wrap long lines of other output, such as the command to resume.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(
            self._name(trainer), total=trainer.num_training_batches, elbo=""
        )
        self._progress.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._progress is None or not is_log_point(trainer, batch_idx):
            return
        elbo = pl_module.recent_means.get("elbo", float("nan"))
        self._progress.update(self._task, completed=batch_idx + 1, elbo=f"elbo {elbo:.2f}")
        self._progress.refresh()

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._stop()
        if not self._enabled:
            return
        elbo = f"elbo {pl_module.epoch_means()['elbo']:.2f}"
        if self._validated:  # in this epoch; callback_metrics keeps older values
            elbo += f"   val/elbo {float(trainer.callback_metrics['val/elbo']):.2f}"
        self._validated = False
        seconds = time.perf_counter() - self._started
        self._console.print(f"{self._name(trainer)}   {elbo}   {seconds:.1f} s")

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        self._stop()

    def _name(self, trainer: Trainer) -> str:
        # Counted from one, as in the file names of the pictures.
        epoch = trainer.current_epoch + 1
        if trainer.max_epochs == -1:  # no limit
            return f"epoch {epoch}"
        return f"epoch {epoch:>{len(str(trainer.max_epochs))}}/{trainer.max_epochs}"

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
