"""A training run: trained, tested, reported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_lightning.metrics.latents import Score
from vae_lightning.training import report
from vae_lightning.training.build import Run


@dataclass(frozen=True)
class Outcome:
    """What a run leaves.

    Attributes:
        best_score: of the best epoch, by what its checkpoint callback monitors; None without
            validation.
        checkpoint: the best one, or the last; None where none was kept.
        metrics: by tag.
    """

    best_score: float | None
    checkpoint: Path | None
    metrics: dict[str, Score]


def train(run: Run) -> Outcome:
    """Train, test and report."""
    config, module, trainer = run.config, run.module, run.trainer
    trainer.callbacks.insert(0, report.Introduction(run))  # type: ignore[attr-defined]
    if run.resumed:
        report.tell_resumed(run)
    metrics: dict[str, Score] = {}
    best_score = None
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
        if saver and saver.best_model_score is not None:
            best_score = float(saver.best_model_score)
    if config["test"]:
        trainer.test(module, run.datamodule, ckpt_path=checkpoint, weights_only=True, verbose=False)
        metrics.update(report.metrics_of(trainer))
        metrics.update(report.latent_usage(run))
    report.conclude(run, metrics, checkpoint)
    return Outcome(best_score, checkpoint, metrics)
