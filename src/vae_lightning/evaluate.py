"""Evaluate a trained model: `python -m vae_lightning.evaluate ckpt_path=<file or run folder>`."""

from typing import TYPE_CHECKING, Any

from vae_lightning.cli.command import run

if TYPE_CHECKING:  # a run needs it; --help and --cfg answer without
    from vae_lightning.cli.over_runs import RunsOfFolder
    from vae_lightning.evaluation.run import Evaluation


def prepare(config: dict[str, Any]) -> "Evaluation":
    """Check an evaluation; see `evaluation.run.prepare`."""
    from vae_lightning.evaluation.run import prepare

    return prepare(config)


def evaluate(evaluation: "Evaluation") -> float | None:
    """Compute the metrics, write them and print a table.

    Returns:
        `nll` of the split, in nats, if `parts` has `likelihood`.
    """
    from vae_lightning.evaluation.run import evaluate

    return evaluate(evaluation)


def runs_of(config: dict[str, Any]) -> "RunsOfFolder | None":
    """The runs of a folder such as that of a sweep; see `summarizing.evaluating`."""
    from vae_lightning.summarizing.evaluating import runs_to_evaluate

    return runs_to_evaluate(config)


def main() -> None:
    run("evaluate", prepare=prepare, task=evaluate, runs_of=runs_of)


if __name__ == "__main__":
    main()
