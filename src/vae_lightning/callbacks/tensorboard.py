"""TensorBoard's logger, and its pages for custom scalars, text and the embedding projector."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.pytorch import loggers
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.tensorboard import SummaryWriter

from vae_lightning.checkpoint import Checkpoint
from vae_lightning.drawing.grids import side_by_side
from vae_lightning.metrics.latents import latent_means
from vae_lightning.utils.checks import at_least

# The run of the validation, below the run itself, and the beginning of its tags.
_VALIDATION = "val"


def writers(trainer: Trainer) -> list[Any]:
    """The SummaryWriters of a run; empty in all processes but the first."""
    if not trainer.is_global_zero:
        return []
    return [
        item.experiment for item in trainer.loggers if isinstance(item, loggers.TensorBoardLogger)
    ]


def group_of(tag: str) -> str:
    """The run below a run that has the points of a tag; empty for the run itself."""
    return _VALIDATION if tag.startswith(f"{_VALIDATION}/") else ""


class TensorBoardLogger(loggers.TensorBoardLogger):
    """Lightning's logger of TensorBoard, with the validation in a run of its own.

    TensorBoard has one colour for each run, so training and validation have to be two runs, the
    folder of the run and `val` in it, to be told apart in a chart that shows both. The curve of
    the epoch over the steps is left out.
    """

    _validation_writer: SummaryWriter | None = None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        shown = {tag: value for tag, value in metrics.items() if tag != "epoch"}
        validation = [tag for tag in shown if group_of(tag)]
        for tag in validation:
            self._validation().add_scalar(tag, shown.pop(tag), step)
        if shown:
            super().log_metrics(shown, step)

    @rank_zero_only
    def save(self) -> None:
        super().save()
        if self._validation_writer is not None:
            self._validation_writer.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        super().finalize(status)
        if self._validation_writer is not None:
            self._validation_writer.close()

    def _validation(self) -> SummaryWriter:
        if self._validation_writer is None:
            self._validation_writer = SummaryWriter(str(Path(self.log_dir) / _VALIDATION))
        return self._validation_writer


def logger_of(checkpoint: Checkpoint | None, folder: Path) -> TensorBoardLogger:
    """The logger for what is made of a checkpoint: that of its run, if there is one.

    Args:
        checkpoint: None for results that should not be shown with those of its run.
        folder: of the results; if it is not in the folder of the run, it gets a logger of its own.
    """
    if checkpoint is not None:
        saved = checkpoint.path.parent
        run = saved.parent if saved.name == "checkpoints" else saved
        node = checkpoint.config.get("logger", {}).get("tensorboard")
        if node and folder.is_relative_to(run):
            logger = TensorBoardLogger(run, node.get("name"), node.get("version"))
            if Path(logger.log_dir).is_dir():
                return logger
    return TensorBoardLogger(folder, name="", version="tensorboard")


class TensorBoardPages(Callback):
    """Writes training and validation curves in one chart, the configuration and the projector.

    CUSTOM SCALARS has one chart for each term, TEXT the resolved configuration. After the test,
    PROJECTOR has the posterior means of test images, with their labels and thumbnails.

    Args:
        projected: maximum number of test images in the projector.

    Raises:
        ValueError: `projected` below 1.
    """

    def __init__(self, projected: int) -> None:
        at_least("projected", projected, 1)
        self.projected = projected

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        from omegaconf import OmegaConf

        charts = {
            name: ["Multiline", [f"^train/{name}$", f"^val/{name}$"]]
            for name in ("elbo", "rate", "distortion", "loss")
        }
        for writer in writers(trainer):
            writer.add_custom_scalars({"Training and validation": charts})
            text = OmegaConf.to_yaml(pl_module.config)
            # Indented text is shown as it stands.
            writer.add_text("configuration", "\n".join(f"    {x}" for x in text.splitlines()), 0)

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        for writer in writers(trainer):
            names = data.class_names
            images, labels = data.images("test", self.projected)
            with torch.no_grad():
                means = latent_means(pl_module.model, images.to(pl_module.dtype), labels)
            # The projector shows three dimensions and cannot do with fewer.
            means = pad(means, (0, max(0, 3 - means.shape[1])))
            writer.add_embedding(
                means,
                metadata=[names[label] for label in labels.tolist()] if names else None,
                label_img=_squares(side_by_side(images)),
                global_step=trainer.global_step,
                tag="posterior_mean",
            )


def _squares(images: Tensor) -> Tensor:
    """Images with a border that makes them square, as thumbnails of the projector have to be."""
    height, width = images.shape[-2:]
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    return pad(images, (left, side - width - left, top, side - height - top))
