"""What a run tells at its beginning and its end: lines for people, `metrics.json` for programs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from rich.table import Table

from vae_lightning.checkpoint import read
from vae_lightning.command import short
from vae_lightning.data import ImageDataModule
from vae_lightning.distributions.likelihoods.likelihood import Measure
from vae_lightning.distributions.posteriors.deterministic import Deterministic
from vae_lightning.metrics.latents import Score, usage
from vae_lightning.models import Model
from vae_lightning.module import TERMS

if TYPE_CHECKING:
    from vae_lightning.train import Run

NO_BOUND = "log p(x, z) of codes without noise: no bound on log p(x)"
SOFT_BOUND = "cross-entropy of grey pixels: not to be put beside a published NLL"
MOST_TEST_IMAGES = 10_000
BOUNDS: dict[Measure, str] = {
    "binary": "bound on log p(x)",
    "discrete": "bound on log p(x), a probability of images of 256 grey values",
    "density": "bound on a log-density, which may be above 0: to be compared with densities only",
}


class Introduction(Callback):
    """Says, once the data is read and its images are counted, what is about to be trained on what.

    Args:
        run: of which it is told.
    """

    def __init__(self, run: "Run") -> None:
        self.run: Run | None = run

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if self.run is not None:
            introduce(self.run)
        self.run = None  # said once, though the test sets up as well


def introduce(run: "Run") -> None:
    """Print what is about to be trained, on what."""
    if not run.trainer.is_global_zero:
        return
    images = run.datamodule.num_images
    parameters = sum(parameter.numel() for parameter in run.module.model.parameters())
    Console(highlight=False).print(
        f"[bold]{run.datamodule.source.title}[/]: {images['train']:,} training, "
        f"{images['val']:,} validation ({run.datamodule.protocol.validation}), "
        f"{images['test']:,} test images · {parameters:,} parameters · "
        f"{run.trainer.strategy.root_device}, {run.trainer.precision}",
        soft_wrap=True,
    )


def go_on(run: "Run", checkpoint: Path, config: dict[str, Any]) -> None:
    """Print what training goes on from, and which settings are not those of the run before.

    Where nothing is trained, print what is tested, and what of the data is not as it was.
    """
    if not run.trainer.is_global_zero:
        return
    before, now = hyperparameters(read(checkpoint)["config"]), hyperparameters(config)
    changes = [
        f"{key}={now.get(key)} (was {before.get(key)})"
        for key in sorted(before.keys() | now.keys())
        if now.get(key) != before.get(key) and (config["train"] or key.startswith("data."))
    ]
    does, same = ("goes on from", "settings") if config["train"] else ("tests", "data")
    print(f"{does} {short(str(checkpoint))}, with {', '.join(changes) or f'the same {same}'}")


def latent_usage(run: "Run") -> dict[str, Score]:
    """How the test images use the latent dimensions, by tag; see `metrics.latents.usage`.

    Of a test split larger than MNIST's, so many of the first images as that has.
    """
    images, labels = run.datamodule.images("test", MOST_TEST_IMAGES)
    device = run.trainer.strategy.root_device
    images = images.to(device, next(run.module.parameters()).dtype)
    scores = usage(run.module.model.to(device).eval(), images, labels.to(device))
    return {f"test/{name}": value for name, value in scores.items()}


def metrics_of(trainer: Trainer) -> dict[str, Score]:
    """The latest value of each metric, by its tag; without those of single steps."""
    return {
        tag: float(value)
        for tag, value in trainer.callback_metrics.items()
        if "/" in tag and not tag.endswith("_step")
    }


def conclude(
    run: "Run", config: dict[str, Any], metrics: dict[str, Score], checkpoint: str | None
) -> None:
    """Write `metrics.json` and the hyperparameters, and print the closing table.

    A trial of a few batches (`trainer.fast_dev_run`) has no results, so that nothing is written.
    """
    if not run.trainer.is_global_zero:
        return
    if run.trainer.fast_dev_run:  # type: ignore[attr-defined]
        print("\nA trial of a few batches went through; nothing is kept.")
        return
    folder = Path(config["paths"]["run_dir"])
    facts = {
        "data": run.datamodule.name,
        "binarize": run.datamodule.protocol.binarize,
        "bound": bound_name(run.datamodule, run.module.model),
        "seed": config["seed"],
        "epochs": run.trainer.current_epoch,
        "device": str(run.trainer.strategy.root_device),
        "precision": run.trainer.precision,
        "tags": config["tags"],
        "checkpoint": checkpoint,
        **limits(run.trainer),
    }
    content = json.dumps({**dict(sorted(metrics.items())), **facts}, indent=2)
    (folder / "metrics.json").write_text(content + "\n")
    for logger in run.trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            tags = [f"{stage}/{name}" for stage in ("test", "val", "train") for name in TERMS]
            finals = {tag: metrics[tag] for tag in tags if tag in metrics}
            logger.log_hyperparams(
                hyperparameters(config), metrics=finals, step=run.trainer.global_step
            )
            logger.finalize("success")
    _print_table(run, config, metrics, checkpoint)


def limits(trainer: Trainer) -> dict[str, int | float]:
    """The settings that kept a run from seeing all images: batches, or a share of them."""
    found = {
        name: getattr(trainer, name)
        for name in (
            "limit_train_batches",
            "limit_val_batches",
            "limit_test_batches",
            "overfit_batches",
        )
    }
    # A whole number counts batches: 1 is one of them, 1.0 is all.
    whole = [name for name, value in found.items() if type(value) is float and value in (0, 1)]
    return {name: value for name, value in found.items() if name not in whole}


def hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    """The keys that distinguish results, flat; a class stands under the key of its group."""
    chosen = ("seed", "data", "model", "objective", "optimizer", "scheduler")
    kept = ("accelerator", "precision", "max_epochs", "gradient_clip_val")
    flat: dict[str, Any] = {f"trainer.{key}": str(config["trainer"].get(key)) for key in kept}

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
        visit(config.get(group), group)
    # Where files lie, and what repeats another key, distinguishes nothing.
    for key in (
        "data", "data.source", "data.root", "data.seed", "data.eval_batch_size",
        "data.cache", "data.max_resident_gb", "data.num_workers",
    ):  # fmt: skip
        flat.pop(key, None)
    return flat


def bound_name(data: ImageDataModule, model: Model) -> str:
    """What the elbo of a model on some data is: a bound, or only the loss of a script."""
    if not has_bound(model):
        return NO_BOUND
    measure = model.likelihood.measure
    return (
        SOFT_BOUND if measure == "binary" and data.protocol.binarize == "none" else BOUNDS[measure]
    )


def written(score: Score, digits: int) -> str:
    """A figure with so many digits after the point, or several of them as a sum."""
    parts = score if isinstance(score, list) else [score]
    return " + ".join(f"{part:.{digits}f}" for part in parts)


def has_bound(model: Model) -> bool:
    """Whether the model's posteriors have densities, so that its elbo and nll are bounds."""
    return not any(isinstance(part, Deterministic) for part in model.modules())


def _print_table(
    run: "Run", config: dict[str, Any], metrics: dict[str, Score], checkpoint: str | None
) -> None:
    console = Console(highlight=False)
    stage = "test" if config["test"] else "val"
    table = Table("", "value", "unit", show_edge=False)
    table.columns[1].justify = "right"
    for name in ("elbo", "rate", "distortion"):
        if (value := metrics.get(f"{stage}/{name}")) is not None:
            table.add_row(f"{stage} {name}", f"{value:.2f}", "nats per image")
    if (active := metrics.get(f"{stage}/active_units")) is not None:
        per_layer = metrics.get(f"{stage}/active_units_per_layer", active)
        table.add_row("active units", written(per_layer, 0), "latent dimensions")
    if (rates := metrics.get(f"{stage}/rate_per_layer")) is not None:
        table.add_row("rate per layer", written(rates, 2), "nats per image")
    if (used := metrics.get(f"{stage}/codebook_perplexity")) is not None:
        table.add_row("codebook perplexity", f"{used:.1f}", "codes in use")
    if "seconds" in metrics:
        table.add_row("training", f"{metrics['seconds']:.1f}", "seconds")
        table.add_row("speed", f"{metrics['images_per_second']:,.0f}", "images per second")
    console.print()
    console.print(table)
    console.print(
        f"\n{run.datamodule.source.title}, {bound_name(run.datamodule, run.module.model)}",
        soft_wrap=True,
    )
    if limited := limits(run.trainer):
        settings = ", ".join(f"trainer.{name}={value}" for name, value in limited.items())
        console.print(f"of a part of the images alone: {settings}", soft_wrap=True)
    console.print(f"run         {short(config['paths']['run_dir'])}", soft_wrap=True)
    if checkpoint:
        console.print(f"checkpoint  {short(checkpoint)}", soft_wrap=True)
    if any(isinstance(logger, TensorBoardLogger) for logger in run.trainer.loggers):
        output_dir = config["paths"]["output_dir"]
        console.print(f"look        tensorboard --logdir {output_dir}", soft_wrap=True)
