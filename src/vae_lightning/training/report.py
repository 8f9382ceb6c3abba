"""What a run tells at its beginning and its end: lines for people, `metrics.json` for programs."""

import json
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from vae_lightning.cli.paths import relative
from vae_lightning.cli.tables import value_table
from vae_lightning.config.hyperparameters import hyperparameters
from vae_lightning.metrics.bounds import bound_name
from vae_lightning.metrics.latents import Score, format_score, usage
from vae_lightning.objectives.objective import TERMS
from vae_lightning.training.build import Run

MOST_TEST_IMAGES = 10_000


class Introduction(Callback):
    """Says, once the data is read and its images are counted, what is about to be trained on what.

    Args:
        run: of which it is told.
    """

    def __init__(self, run: Run) -> None:
        self.run: Run | None = run

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if self.run is not None:
            introduce(self.run)
        self.run = None  # said once, though the test sets up as well


def introduce(run: Run) -> None:
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


def tell_resumed(run: Run) -> None:
    """Print what training resumes from, and which settings are not those of the run before.

    Where nothing is trained, print what is tested, and what of the data is not as it was.
    """
    if not run.trainer.is_global_zero or run.resumed is None:
        return
    before, now = hyperparameters(run.resumed.config), hyperparameters(run.config)
    trains = run.config["train"]
    changes = [
        f"{key}={now.get(key)} (was {before.get(key)})"
        for key in sorted(before.keys() | now.keys())
        if now.get(key) != before.get(key) and (trains or key.startswith("data."))
    ]
    verb, same = ("resumes from", "settings") if trains else ("tests", "data")
    print(f"{verb} {relative(run.resumed.path)}, with {', '.join(changes) or f'the same {same}'}")


def latent_usage(run: Run) -> dict[str, Score]:
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


def conclude(run: Run, metrics: dict[str, Score], checkpoint: Path | None) -> None:
    """Write `metrics.json` and the hyperparameters, and print the closing table.

    A trial of a few batches (`trainer.fast_dev_run`) has no results, so that nothing is written.
    """
    if not run.trainer.is_global_zero:
        return
    if run.trainer.fast_dev_run:  # type: ignore[attr-defined]
        print("\nA trial of a few batches went through; nothing is kept.")
        return
    config = run.config
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
        "checkpoint": str(checkpoint) if checkpoint else None,
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
    _print_table(run, metrics, checkpoint)


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


def _print_table(run: Run, metrics: dict[str, Score], checkpoint: Path | None) -> None:
    config = run.config
    console = Console(highlight=False)
    stage = "test" if config["test"] else "val"
    rows: list[tuple[str, str, str]] = []
    for name in ("elbo", "rate", "distortion"):
        if (value := metrics.get(f"{stage}/{name}")) is not None:
            rows.append((f"{stage} {name}", f"{value:.2f}", "nats per image"))
    if (active := metrics.get(f"{stage}/active_units")) is not None:
        per_layer = metrics.get(f"{stage}/active_units_per_layer", active)
        rows.append(("active units", format_score(per_layer, 0), "latent dimensions"))
    if (rates := metrics.get(f"{stage}/rate_per_layer")) is not None:
        rows.append(("rate per layer", format_score(rates, 2), "nats per image"))
    if (used := metrics.get(f"{stage}/codebook_perplexity")) is not None:
        rows.append(("codebook perplexity", f"{used:.1f}", "codes in use"))
    if "seconds" in metrics:
        rows.append(("training", f"{metrics['seconds']:.1f}", "seconds"))
        rows.append(("speed", f"{metrics['images_per_second']:,.0f}", "images per second"))
    console.print()
    console.print(value_table(rows))
    console.print(
        f"\n{run.datamodule.source.title}, {bound_name(run.datamodule, run.module.model)}",
        soft_wrap=True,
    )
    if limited := limits(run.trainer):
        settings = ", ".join(f"trainer.{name}={value}" for name, value in limited.items())
        console.print(f"of a part of the images alone: {settings}", soft_wrap=True)
    console.print(f"run         {relative(config['paths']['run_dir'])}", soft_wrap=True)
    if checkpoint:
        console.print(f"checkpoint  {relative(checkpoint)}", soft_wrap=True)
    if any(isinstance(logger, TensorBoardLogger) for logger in run.trainer.loggers):
        output_dir = config["paths"]["output_dir"]
        console.print(f"look        tensorboard --logdir {output_dir}", soft_wrap=True)
