"""Draws what a model does, each few epochs: as PNG in the run's folder and in TensorBoard."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor

from vae_lightning.callbacks.tensorboard import writers
from vae_lightning.data import ImageDataModule
from vae_lightning.drawing.grids import png
from vae_lightning.models import Model
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.random_state import fixed_noise

# History: by tag, one value per epoch drawn so far, with the epoch.
History = dict[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class Scene:
    """What a drawing may look at.

    Attributes:
        model: in evaluation mode; gradients are off and the noise comes from a fixed seed.
        data: where the images come from.
        split: `val`, `test`, or `train` where nothing is held out.
        history: training and validation terms of the epochs so far.
    """

    model: Model
    data: ImageDataModule
    split: str
    history: History

    def images(self, count: int) -> tuple[Tensor, Tensor]:
        """The first images of the split, in the precision of the model, and their labels.

        Shape:
            returns images (count, C, H, W) in [0, 1] and labels int64 (count,).
        """
        images, labels = self.data.images(self.split, count)
        return images.to(next(self.model.parameters()).dtype), labels


class Drawing(ABC):
    """One picture of a model.

    Args:
        every_n_epochs: how often it is made; at the last epoch always.

    Raises:
        ValueError: `every_n_epochs` below 1.
    """

    def __init__(self, every_n_epochs: int) -> None:
        at_least("every_n_epochs", every_n_epochs, 1)
        self.every_n_epochs = every_n_epochs

    @abstractmethod
    def draw(self, scene: Scene) -> Tensor | None:
        """Draw, or return None where there is nothing to show for this model.

        Shape:
            returns uint8 (3, H, W).
        """


class Pictures(Callback):
    """Makes drawings at the end of epochs and after the test.

    Files: `<dirpath>/<name>/epoch_<n>.png` and `<dirpath>/<name>/test.png`. TensorBoard shows each
    name with a slider over the epochs. Drawing changes nothing in the training: it draws its noise
    from a stream of its own.

    Args:
        dirpath: folder of the PNG files.
        drawings: by name.
    """

    def __init__(self, dirpath: str, drawings: Mapping[str, Drawing]) -> None:
        self.dirpath = Path(dirpath)
        self.drawings = drawings
        self.history: History = {}
        self._validated = False

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        epoch = trainer.current_epoch + 1
        self._remember(trainer, pl_module, epoch)
        last = (
            epoch == trainer.max_epochs
            or trainer.global_step == trainer.max_steps
            or trainer.should_stop
        )
        due = [
            name
            for name, drawing in self.drawings.items()
            if last or epoch % drawing.every_n_epochs == 0
        ]
        split = "val" if trainer.datamodule.num_images["val"] else "train"  # type: ignore[attr-defined]
        self._draw(trainer, pl_module, due, split, f"epoch_{epoch:03d}")

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._draw(trainer, pl_module, list(self.drawings), "test", "test")

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = state_dict["history"]

    def _remember(self, trainer: Trainer, module: Any, epoch: int) -> None:
        values = {f"train/{name}": value for name, value in module.epoch_means().items()}
        if self._validated:  # in this epoch; Lightning keeps older values
            values |= {
                tag: float(value)
                for tag, value in trainer.callback_metrics.items()
                if tag.startswith("val/")
            }
        self._validated = False
        for tag, value in values.items():
            self.history.setdefault(tag, []).append((epoch, value))

    def _draw(
        self, trainer: Trainer, module: Any, names: list[str], split: str, filename: str
    ) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        scene = Scene(module.model, trainer.datamodule, split, self.history)  # type: ignore[attr-defined]
        modes = {part: part.training for part in module.modules()}
        module.eval()
        for name in names:
            with torch.no_grad(), fixed_noise(0, module.device):
                picture = self.drawings[name].draw(scene)
            if picture is None:
                continue
            encoded = png(picture)
            path = self.dirpath / name / f"{filename}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded)
            tag = f"test/{name}" if split == "test" else name
            for writer in writers(trainer):
                _add_png(writer, tag, encoded, picture.shape, trainer.global_step)
        for part, training in modes.items():
            part.training = training


def _add_png(writer: Any, tag: str, png: bytes, shape: torch.Size, step: int) -> None:
    # What SummaryWriter.add_image does, less a second and slower compression.
    from tensorboard.compat.proto.summary_pb2 import Summary

    _, height, width = shape
    image = Summary.Image(height=height, width=width, encoded_image_string=png)
    summary = Summary(value=[Summary.Value(tag=tag, image=image)])
    writer._get_file_writer().add_summary(summary, step)
