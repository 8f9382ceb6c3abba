"""Train a model: `python -m vae_lightning.train [key=value ...]`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_lightning.cli.command import fetch_data, run

if TYPE_CHECKING:  # a run needs it; --help and --cfg answer without
    from vae_lightning.training.build import Run


def prepare(config: dict[str, Any]) -> "Run":
    """Build a run; see `training.build`."""
    from vae_lightning.training.build import build

    return build(config)


def train(run: "Run") -> float | None:
    """Train, test and report; with `evaluate=true`, also evaluate the best checkpoint.

    Returns:
        `val/elbo` of the checkpoint that is kept, in nats, whatever the objective and whatever the
        checkpoint callback monitors: a sweeper optimises it. None without validation.
    """
    from vae_lightning.training import run as training

    with training.logged(run):
        outcome = training.train(run)
        if run.config["evaluate"] and outcome.checkpoint:
            from vae_lightning.evaluation.run import evaluate_checkpoint

            trainer, num_test = run.trainer, run.datamodule.num_images["test"]
            evaluate_checkpoint(
                outcome.checkpoint, run.config, trainer.num_devices, num_test, trainer.loggers
            )
    return outcome.elbo


def summarize_sweep(folder: Path) -> None:
    """Print and write the leaderboard of a sweep; see `summarizing.run`."""
    from vae_lightning.summarizing.run import summarize_sweep

    summarize_sweep(folder)


def main() -> None:
    run(
        "train",
        prepare=prepare,
        task=train,
        fetch=fetch_data,
        after_sweep=summarize_sweep,
        resumable=True,
    )


if __name__ == "__main__":
    main()
