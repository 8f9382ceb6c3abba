"""What the terminal shows while a model trains."""

from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.table import Table


class ModelSummary(Callback):
    """The parts of the model, with their numbers of parameters, before training."""

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


class ProgressBar(RichProgressBar):
    """Lightning's bar, one line for each epoch, with the elbo of training and validation."""

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        return [
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        ]

    def get_metrics(self, trainer: Trainer, pl_module: Any) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)  # the logger's version: here always the same folder
        return metrics

    def _get_train_description(self, current_epoch: int) -> str:
        # Epochs count from one, as in the names of the pictures.
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"
