"""What a run tells at its beginning and its end: lines for people, `metrics.json` for programs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from rich.table import Table

from vae_lightning.distributions.likelihoods import Bernoulli

if TYPE_CHECKING:
    from vae_lightning.train import Run

SOFT_BOUND = "cross-entropy of grey pixels: not the NLL of any published table"


def introduce(run: "Run") -> None:
    """Print what is about to be trained, on what."""
    if not run.trainer.is_global_zero:
        return
    images = run.datamodule.num_images
    parameters = sum(parameter.numel() for parameter in run.module.model.parameters())
    Console(highlight=False).print(
        f"[bold]{run.datamodule.source.title}[/]: {images['train']:,} training, "
        f"{images['val']:,} validation ({run.datamodule.validation}), {images['test']:,} test "
        f"images · {parameters:,} parameters · {run.trainer.strategy.root_device}, "
        f"{run.trainer.precision}"
    )


def metrics_of(trainer: Trainer) -> dict[str, float]:
    """The latest value of each metric, by its tag; without those of single steps."""
    return {
        tag: float(value)
        for tag, value in trainer.callback_metrics.items()
        if "/" in tag and not tag.endswith("_step")
    }


def conclude(
    run: "Run", config: dict[str, Any], metrics: dict[str, float], checkpoint: str | None
) -> None:
    """Write `metrics.json` and the hyperparameters, and print the closing table."""
    if not run.trainer.is_global_zero:
        return
    folder = Path(config["paths"]["run_dir"])
    facts = {
        "data": run.datamodule.name,
        "binarize": run.datamodule.binarize,
        "bound": _bound(run),
        "seed": config["seed"],
        "epochs": run.trainer.current_epoch,
        "device": str(run.trainer.strategy.root_device),
        "precision": run.trainer.precision,
        "tags": config["tags"],
        "checkpoint": checkpoint,
    }
    content = json.dumps({**dict(sorted(metrics.items())), **facts}, indent=2)
    (folder / "metrics.json").write_text(content + "\n")
    for logger in run.trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            finals = {tag: value for tag, value in metrics.items() if "/" in tag}
            logger.log_hyperparams(
                hyperparameters(config), metrics=finals, step=run.trainer.global_step
            )
            logger.finalize("success")
    _print_table(run, config, metrics, checkpoint)


def hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    """The keys that distinguish runs, flat; a class stands under the key of its group."""
    chosen = ("seed", "data", "model", "objective", "optimizer", "scheduler", "trainer")
    flat: dict[str, Any] = {}

    def visit(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "_target_":
                    flat[path] = value.rpartition(".")[2]
                elif not key.startswith("_"):
                    visit(value, f"{path}.{key}")
        else:
            flat[path] = node if isinstance(node, int | float | str) else str(node)

    for group in chosen:
        visit(config[group], group)
    return flat


def _bound(run: "Run") -> str:
    grey = run.datamodule.binarize == "none"
    if grey and isinstance(run.module.model.likelihood, Bernoulli):
        return SOFT_BOUND
    return "evidence lower bound"


def _print_table(
    run: "Run", config: dict[str, Any], metrics: dict[str, float], checkpoint: str | None
) -> None:
    console = Console(highlight=False)
    stage = "test" if config["test"] else "val"
    table = Table(title=f"{run.datamodule.source.title}, {_bound(run)}", title_justify="left")
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("unit")
    for name in ("elbo", "rate", "distortion"):
        if (value := metrics.get(f"{stage}/{name}")) is not None:
            table.add_row(f"{stage} {name}", f"{value:.2f}", "nats per image")
    if "seconds" in metrics:
        table.add_row("training", f"{metrics['seconds']:.1f}", "seconds")
        table.add_row("speed", f"{metrics['images_per_second']:,.0f}", "images per second")
    console.print(table)
    console.print(f"run         {config['paths']['run_dir']}", soft_wrap=True)
    if checkpoint:
        console.print(f"checkpoint  {checkpoint}", soft_wrap=True)
    if run.trainer.loggers:
        output_dir = config["paths"]["output_dir"]
        console.print(f"look        tensorboard --logdir {output_dir}", soft_wrap=True)
