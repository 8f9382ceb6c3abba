"""The model summary in the terminal."""

from typing import Any

from lightning import Callback, Trainer
from rich.console import Console
from rich.table import Table


class ModelSummary(Callback):
    """Prints the parts of the model and their numbers of parameters before training."""

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        table = Table("part", "is a", "parameters", show_edge=False)
        table.columns[0].no_wrap = True
        table.columns[2].no_wrap = True
        table.columns[2].justify = "right"
        total = 0
        for name, part in pl_module.model.named_children():
            count = sum(parameter.numel() for parameter in part.parameters())
            total += count
            table.add_row(name, type(part).__name__, f"{count:,}")
        table.add_section()
        table.add_row("model", type(pl_module.model).__name__, f"{total:,}")
        Console(highlight=False).print(table)
