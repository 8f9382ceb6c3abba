"""TensorBoard's custom scalars, text and embedding projector."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.pytorch import loggers
from torch import Tensor
from torch.nn.functional import pad

from vae_lightning.drawing.grids import side_by_side
from vae_lightning.metrics.latents import latent_means
from vae_lightning.utils.checks import at_least


def writers(trainer: Trainer) -> list[Any]:
    """The SummaryWriters of a run; empty in all processes but the first."""
    if not trainer.is_global_zero:
        return []
    return [
        item.experiment for item in trainer.loggers if isinstance(item, loggers.TensorBoardLogger)
    ]


class TensorBoardLogger(loggers.TensorBoardLogger):
    """Lightning's logger of TensorBoard, without the curve of the epoch over the steps."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics({tag: x for tag, x in metrics.items() if tag != "epoch"}, step)


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
