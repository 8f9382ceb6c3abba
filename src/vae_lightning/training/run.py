"""Trains, tests and reports a run."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_lightning.callbacks import loggers
from vae_lightning.checkpoint import Checkpoint
from vae_lightning.cli.expected import changed_settings
from vae_lightning.cli.processes import ending_together
from vae_lightning.config.hyperparameters import hyperparameters
from vae_lightning.metrics.latents import Score
from vae_lightning.objectives.objective import SCORE
from vae_lightning.training import report
from vae_lightning.training.build import Run
from vae_lightning.utils.progress import stage


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        elbo: `val/elbo`, in nats, of the weights in `checkpoint`, or of the last epoch if none was
            saved; None without validation.
        checkpoint: the best one, else the last; None if none was saved.
        metrics: by tag.
    """

    elbo: float | None
    checkpoint: Path | None
    metrics: dict[str, Score]


@contextmanager
def logged(run: Run) -> Iterator[None]:
    """Begin and end a run of its loggers."""
    with loggers.opened(run.trainer.loggers, hyperparameters(run.config)):
        yield


def train(run: Run) -> Outcome:
    """Train, test and report."""
    config, module, trainer = run.config, run.module, run.trainer
    changes = changed_settings(config) if config["expected"] else []
    if changes:
        config["expected"] = None  # nor is `evaluate` to compare them, later on
    if run.resumed:
        report.print_resumed(run)
    if config["train"]:
        report.print_parts(run)
    metrics: dict[str, Score] = {}
    elbo: Any = None
    kept = run.resumed
    with ExitStack() as reading:
        reading.enter_context(stage(f"reading {run.datamodule.source.title}"))
        trainer.callbacks.insert(0, report.DataSummary(run, reading.close))  # type: ignore[attr-defined]
        if config["train"]:
            run.fit()
            report.print_stopped(run)
            metrics.update(report.metrics_of(trainer))
            if module.images_trained:
                speed = module.images_trained / module.seconds
                metrics |= {"seconds": module.seconds, "images_per_second": speed}
            saver: Any = trainer.checkpoint_callback
            saved = (saver.best_model_path or saver.last_model_path) if saver else None
            kept = Checkpoint(saved) if saved else None
            elbo = kept.elbo if kept else trainer.callback_metrics.get(SCORE)
            if elbo is not None:  # `val/elbo` is that of the last epoch
                metrics["val/best_elbo"] = float(elbo)
        checkpoint = kept.path if kept else None
        if config["test"]:
            with stage("testing"), ending_together(trainer):
                trainer.test(
                    module, run.datamodule, ckpt_path=checkpoint, weights_only=True, verbose=False
                )
                metrics.update(report.metrics_of(trainer))
                metrics.update(report.latent_usage(run))
    report.write_results(run, metrics, kept, changes)
    return Outcome(None if elbo is None else float(elbo), checkpoint, metrics)
