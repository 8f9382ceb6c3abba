"""What runs do with loggers beyond metrics: pictures, settings, and packages that are missing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from vae_lightning.errors import ConfigError, UserError

# The package that a logger needs, which is also the name of the extra that installs it.
_PACKAGES = {WandbLogger.__name__: "wandb", MLFlowLogger.__name__: "mlflow"}


def check_installed(nodes: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that the packages of the chosen loggers are installed.

    Args:
        nodes: the group `logger` of a configuration.

    Raises:
        ConfigError: one is missing; the message says how to install it.
    """
    for name, node in nodes.items():
        package = _PACKAGES.get(str(node["_target_"]).rpartition(".")[2])
        if package and find_spec(package) is None:
            raise ConfigError(
                f"logger={name} needs {package}, not installed here: "
                f"pip install -e '.[{package}]' in the folder of the project"
            )


@contextmanager
def opened(loggers: Sequence[Logger], hyperparameters: Mapping[str, Any]) -> Iterator[None]:
    """Log the hyperparameters at the start of a run, and end the run of W&B at its end.

    TensorBoard has them on a page of its own, which needs the metrics too; see `hparams`.

    Raises:
        UserError: W&B or MLflow cannot be reached, or has no account of the user.
    """
    try:
        for logger in loggers:
            if not isinstance(logger, TensorBoardLogger):
                with _refusals():
                    logger.log_hyperparams(dict(hyperparameters))
        yield
    finally:
        # W&B has one run for a process: the next job of a sweep would be logged to it as well.
        if any(isinstance(logger, WandbLogger) for logger in loggers):
            import wandb

            wandb.finish()


def log_picture(loggers: Sequence[Logger], tag: str, file: Path, step: int) -> None:
    """Show a picture in all loggers that can: TensorBoard, W&B and MLflow.

    To be called in the first process only.

    Args:
        loggers: of a run.
        tag: the picture's name.
        file: PNG, or an animated GIF, which MLflow keeps as a file of the run.
        step: number of steps that the optimiser has done.
    """
    animated = file.suffix == ".gif"
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            _add_encoded(logger.experiment, tag, file, step)
        elif isinstance(logger, WandbLogger) and animated:
            logger.log_video(tag, [str(file)], step, format=["gif"])
        elif isinstance(logger, WandbLogger):
            logger.log_image(tag, [str(file)], step)
        elif isinstance(logger, MLFlowLogger) and animated:
            logger.experiment.log_artifact(logger.run_id, str(file), tag)
        elif isinstance(logger, MLFlowLogger):
            with Image.open(file) as image:
                logger.experiment.log_image(logger.run_id, image, key=tag, step=step)


def _add_encoded(writer: Any, tag: str, file: Path, step: int) -> None:
    # SummaryWriter.add_image would compress the picture again, in 0.12 s. The default run draws two
    # per epoch, so that is 4 % of an epoch on MNIST (430 steps of 12 ms, on the same loaded core).
    # TensorBoard serves the bytes as they are, so that a GIF moves.
    from tensorboard.compat.proto.summary_pb2 import Summary

    with Image.open(file) as image:
        width, height = image.size
    encoded = Summary.Image(height=height, width=width, encoded_image_string=file.read_bytes())
    summary = Summary(value=[Summary.Value(tag=tag, image=encoded)])
    writer._get_file_writer().add_summary(summary, step)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn the errors of a logger's package into one line."""
    try:
        yield
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        if package not in _PACKAGES.values():
            raise
        reason = str(error).strip().splitlines()[0]
        offline = ", or keep the run on this machine: WANDB_MODE=offline"
        hint = offline if package == "wandb" else ""
        raise UserError(f"logger={package}: {reason.rstrip('.')}{hint}") from error
