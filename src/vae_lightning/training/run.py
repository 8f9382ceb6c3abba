"""Trains, tests and reports a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_lightning.checkpoint import Checkpoint
from vae_lightning.metrics.latents import Score
from vae_lightning.objectives.objective import SCORE
from vae_lightning.training import report
from vae_lightning.training.build import Run


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


def train(run: Run) -> Outcome:
    """Train, test and report."""
    config, module, trainer = run.config, run.module, run.trainer
    trainer.callbacks.insert(0, report.DataSummary(run))  # type: ignore[attr-defined]
    if run.resumed:
        report.print_resumed(run)
    metrics: dict[str, Score] = {}
    elbo: Any = None
    checkpoint = run.resumed.path if run.resumed else None
    if config["train"]:
        run.fit()
        metrics.update(report.metrics_of(trainer))
        if module.images_trained:
            images = module.images_trained * trainer.world_size
            metrics |= {"seconds": module.seconds, "images_per_second": images / module.seconds}
        saver: Any = trainer.checkpoint_callback
        saved = (saver.best_model_path or saver.last_model_path) if saver else None
        checkpoint = Path(saved) if saved else None
        elbo = Checkpoint(checkpoint).elbo if checkpoint else trainer.callback_metrics.get(SCORE)
        if elbo is not None:  # `val/elbo` is that of the last epoch
            metrics["val/best_elbo"] = float(elbo)
    if config["test"]:
        trainer.test(module, run.datamodule, ckpt_path=checkpoint, weights_only=True, verbose=False)
        metrics.update(report.metrics_of(trainer))
        metrics.update(report.latent_usage(run))
    report.write_results(run, metrics, checkpoint)
    return Outcome(None if elbo is None else float(elbo), checkpoint, metrics)
