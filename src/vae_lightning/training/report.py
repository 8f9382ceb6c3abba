"""What a run prints before and after training, and its `metrics.json`."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from vae_lightning.callbacks.hparams import write_hparams
from vae_lightning.checkpoint import Checkpoint
from vae_lightning.cli.expected import comparisons, settings_of_evaluate
from vae_lightning.cli.paths import relative
from vae_lightning.cli.swept import chosen_settings_of_job, swept_settings_of_job
from vae_lightning.cli.tables import show_facts, value_table
from vae_lightning.cli.trained import describe_training
from vae_lightning.config.hyperparameters import hyperparameters
from vae_lightning.data.notices import describe_classes
from vae_lightning.metrics.bounds import SOFT_BOUND, bound_name
from vae_lightning.metrics.latents import Score, format_score, usage
from vae_lightning.objectives.importance_weighted import ImportanceWeighted
from vae_lightning.training.build import Run
from vae_lightning.training.freezing import describe_frozen

# As many as MNIST has.
MAX_TEST_IMAGES = 10_000
# On MNIST, the first 300 steps take the elbo from -550 to -145, and the next 4,000 to -106.
MIN_STEPS = 300


class DataSummary(Callback):
    """Prints, as soon as the data is read, what is about to be trained and on which images.

    Args:
        run: the run to summarise.
        when_read: is called first.
    """

    def __init__(self, run: Run, when_read: Callable[[], None]) -> None:
        self.run: Run | None = run
        self.when_read = when_read

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self.when_read()
        if self.run is not None:
            print_data_summary(self.run)
        self.run = None  # once only: the test calls setup again

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        steps = trainer.estimated_stepping_batches
        if steps < MIN_STEPS and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            print(
                f"warning: {steps:,} steps of the optimiser in all are few, and the model will not "
                "have learned much: raise trainer.max_epochs, or lower data.batch_size"
            )


def print_data_summary(run: Run) -> None:
    """Print the numbers of images and parameters, the device and the precision."""
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
    data = run.datamodule
    if classes := describe_classes(data.class_names, data.protocol.held_out):
        print(classes)


def print_resumed(run: Run) -> None:
    """Print which checkpoint is resumed, and which settings differ from the earlier run.

    With `train=false`, print which checkpoint is tested, and which settings of the data differ.
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


def print_parts(run: Run) -> None:
    """Print which parts of the model start from a checkpoint, and which are not trained."""
    if not run.trainer.is_global_zero:
        return
    if run.initial:
        print(f"starts from {relative(run.initial.path)}: {run.initial}")
    if frozen := run.config["freeze"]:
        trained = frozen if run.resumed else run.module.trained
        untrained = [part for part in frozen if part not in trained]
        print(f"frozen: {describe_frozen(run.module.model, frozen, untrained)}")


def print_stopped(run: Run) -> None:
    """Print why a training has stopped before its last epoch, if `EarlyStopping` says so."""
    trainer: Any = run.trainer
    if not (trainer.should_stop and trainer.is_global_zero):
        return
    for callback in trainer.callbacks:
        if not isinstance(callback, EarlyStopping):
            continue
        if callback.stopping_reason is EarlyStoppingReason.PATIENCE_EXHAUSTED:
            count = callback.wait_count
            validations = "the last validation" if count == 1 else f"the last {count} validations"
            better = "higher" if callback.mode == "max" else "lower"
            why = f"{callback.monitor} was no {better} in {validations}"
        elif callback.stopping_reason_message is not None:
            why = callback.stopping_reason_message.removesuffix(" Signaling Trainer to stop.")
        else:
            continue
        print(f"stopped early: {why} than the best so far, {callback.best_score:.2f}")


def latent_usage(run: Run) -> dict[str, Score]:
    """How the test images use the latent dimensions, by tag; see `metrics.latents.usage`.

    Uses the first `MAX_TEST_IMAGES` of the images that were tested.
    """
    batches = sum(run.trainer.num_test_batches)
    tested = int(batches * run.datamodule.eval_batch_size * run.trainer.world_size)
    images, labels = run.datamodule.images("test", min(tested, MAX_TEST_IMAGES))
    device = run.trainer.strategy.root_device
    images = images.to(device, next(run.module.parameters()).dtype)
    scores = usage(run.module.model.to(device).eval(), images, labels.to(device))
    return {f"test/{name}": value for name, value in scores.items()}


def metrics_of(trainer: Trainer) -> dict[str, Score]:
    """The latest value of each metric by tag, without the `_step` ones."""
    return {
        tag: float(value)
        for tag, value in trainer.callback_metrics.items()
        if "/" in tag and not tag.endswith("_step")
    }


def write_results(
    run: Run, metrics: dict[str, Score], kept: Checkpoint | None, changes: Sequence[str]
) -> None:
    """Write `metrics.json` and the hyperparameters, and print the table of results.

    With `trainer.fast_dev_run` there are no results, so nothing is written.

    Args:
        run: that has ended.
        metrics: by tag.
        kept: the checkpoint that was tested.
        changes: the settings because of which results are not compared with the expected ones.
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
        "init_from": config["init_from"],
        "freeze": config["freeze"],
        "epochs": run.trainer.current_epoch,
        "best_epoch": kept.epoch + 1 if kept else None,
        "device": str(run.trainer.strategy.root_device),
        "precision": run.trainer.precision,
        "tags": config["tags"],
        "checkpoint": str(kept.path) if kept else None,
        **batch_limits(run.trainer),
    }
    content = json.dumps({**dict(sorted(metrics.items())), **facts}, indent=2)
    (folder / "metrics.json").write_text(content + "\n", encoding="utf-8")
    for logger in run.trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            write_hparams(logger, config, chosen_settings_of_job(), swept_settings_of_job())
            logger.finalize("success")
    _print_table(run, metrics)
    _print_facts(run, metrics, kept, changes)


def batch_limits(trainer: Trainer) -> dict[str, int | float]:
    """The settings that restrict a run to a part of the images: batches, or a fraction of them."""
    found = {
        name: getattr(trainer, name)
        for name in (
            "limit_train_batches",
            "limit_val_batches",
            "limit_test_batches",
            "overfit_batches",
        )
    }
    # An int counts batches, a float is a fraction: 1 is one batch, 1.0 is all of them.
    whole = [name for name, value in found.items() if type(value) is float and value in (0, 1)]
    return {name: value for name, value in found.items() if name not in whole}


def _print_table(run: Run, metrics: dict[str, Score]) -> None:
    stage = "test" if run.config["test"] else "val"
    rows: list[tuple[str, str, str]] = []
    for name in ("elbo", "rate", "distortion"):
        if (value := metrics.get(f"{stage}/{name}")) is not None:
            rows.append((f"{stage} {name}", f"{value:.2f}", "nats per image"))
        objective = run.module.objective
        if name == "elbo" and rows and isinstance(objective, ImportanceWeighted):
            # What is maximised in training; the elbo is lower.
            bound = -float(metrics[f"{stage}/loss"])  # type: ignore[arg-type]
            label = f"{stage} bound, K = {objective.num_samples}"
            rows.append((label, f"{bound:.2f}", "nats per image, importance-weighted"))
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
    print()
    Console(highlight=False).print(value_table(rows))
    print()


def _print_facts(
    run: Run, metrics: dict[str, Score], kept: Checkpoint | None, changes: Sequence[str]
) -> None:
    config, trainer = run.config, run.trainer
    bound = bound_name(run.datamodule, run.module.model)
    facts = []
    if config["train"]:
        epochs = "1 epoch" if trainer.current_epoch == 1 else f"{trainer.current_epoch} epochs"
        facts.append(("trained", f"{describe_training(config)}, {epochs}"))
        if kept:
            facts.append(_kept(run, kept))
    facts.append(("elbo", bound))
    if bound == SOFT_BOUND:
        facts.append(("", "for an NLL that is: data.binarize=dynamic evaluate=true"))
    if limited := batch_limits(trainer):
        settings = ", ".join(f"trainer.{name}={value}" for name, value in limited.items())
        facts.append(("", f"of a part of the images alone: {settings}"))
    lines = comparisons(config["expected"], metrics)
    if not config["evaluate"]:
        lines += settings_of_evaluate(config["expected"])
    if changes:
        others = f" and {len(changes) - 2} more" if len(changes) > 2 else ""
        named = ", ".join(changes[:2]) + others
        lines.append(f"not compared, because the experiment has other settings than {named}")
    facts += [("expected", line) for line in lines]
    facts.append(("run", str(relative(config["paths"]["run_dir"]))))
    if kept:
        facts.append(("checkpoint", str(relative(kept.path))))
    if any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers):
        facts.append(("look", f"tensorboard --logdir {config['paths']['output_dir']}"))
    show_facts(facts)


def _kept(run: Run, kept: Checkpoint) -> tuple[str, str]:
    """The epoch of the checkpoint, and why it was kept."""
    saver: Any = run.trainer.checkpoint_callback
    epoch = f"epoch {kept.epoch + 1}"
    if saver.monitor is None:
        return "kept", f"{epoch}, the last: no metric is monitored"
    if saver.best_model_score is None:
        return "kept", f"{epoch}, the last: {saver.monitor} was never measured"
    return "best", f"{epoch}, by {saver.monitor} {float(saver.best_model_score):.2f}"
