"""Pictures of a model every few epochs: PNG files in the run's folder, and TensorBoard's IMAGES."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor

from vae_lightning.callbacks.loggers import log_picture
from vae_lightning.data import ImageDataModule
from vae_lightning.drawing.gif import write_film
from vae_lightning.drawing.grids import png
from vae_lightning.models import Model
from vae_lightning.utils.blocks import rows_at_once
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.random_state import fixed_noise

# (epoch, value) pairs by tag, as in {"val/elbo": [(1, -120.0), (2, -112.5)]}.
History = dict[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class DrawingContext:
    """What a picture is drawn from.

    Attributes:
        model: in evaluation mode, with gradients off and noise from a fixed seed.
        data: the data module that it is trained on.
        split: `val` or `test`; `train` where there are no validation images.
        history: the terms of training and validation after each epoch so far.
    """

    model: Model
    data: ImageDataModule
    split: str
    history: History

    def images(self, count: int) -> tuple[Tensor, Tensor]:
        """The first images of the split, in the model's dtype, and their labels.

        Fewer than `count` if these take more than a block: 341 colour images of 256 by 256 pixels.

        Shape:
            returns images (N, C, H, W) in [0, 1] and labels int64 (N,).
        """
        count = rows_at_once(4 * math.prod(self.model.image_shape), count)
        images, labels = self.data.images(self.split, count)
        return images.to(next(self.model.parameters()).dtype), labels


class Drawing(ABC):
    """Draws one picture of a model.

    Args:
        every_n_epochs: how often; the last epoch is always drawn.

    Attributes:
        animated: whether to make a GIF of the epochs at the end of training.

    Raises:
        ValueError: `every_n_epochs` below 1.
    """

    animated = False

    def __init__(self, every_n_epochs: int) -> None:
        at_least("every_n_epochs", every_n_epochs, 1)
        self.every_n_epochs = every_n_epochs

    @abstractmethod
    def draw(self, context: DrawingContext) -> Tensor | None:
        """Draw, or return None where the picture does not apply to this model.

        Shape:
            returns uint8 (3, H, W).
        """


class Pictures(Callback):
    """Draws pictures at the end of epochs and after the test.

    Files: `<dirpath>/<name>/epoch_<n>.png` and `<dirpath>/<name>/test.png`. Loggers that can show
    pictures have the same ones; see `loggers`. If there are more than `max_files` epochs, the
    first, the last and about evenly spaced ones stay as files. Of a drawing that is animated, these
    become the frames of `<dirpath>/<name>/epochs.gif` at the end of training. Drawing does not
    affect training: it uses a random stream of its own and restores the mode of every module.

    Args:
        dirpath: folder of the PNG files.
        drawings: what to draw, by name.
        max_files: how many epochs of each picture to keep as files.

    Raises:
        ValueError: `max_files` below 2.
    """

    def __init__(self, dirpath: str, drawings: Mapping[str, Drawing], max_files: int) -> None:
        at_least("max_files", max_files, 2)
        self.dirpath = Path(dirpath)
        self.drawings = drawings
        self.max_files = max_files
        self.history: History = {}
        self._validated = False

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        epoch = trainer.current_epoch + 1
        self._extend_history(trainer, pl_module, epoch)
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

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        for name, drawing in self.drawings.items():
            epochs = _epochs(self.dirpath / name)
            if not drawing.animated or len(epochs) < 2:
                continue
            file = self.dirpath / name / "epochs.gif"
            write_film(list(epochs.values()), [f"epoch {epoch}" for epoch in epochs], file)
            log_picture(trainer.loggers, f"{name}_over_epochs", file, trainer.global_step)

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._draw(trainer, pl_module, list(self.drawings), "test", "test")

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = state_dict["history"]

    def _extend_history(self, trainer: Trainer, module: Any, epoch: int) -> None:
        values = {f"train/{name}": value for name, value in module.epoch_means().items()}
        if self._validated:  # in this epoch; callback_metrics keeps older values
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
        context = DrawingContext(module.model, trainer.datamodule, split, self.history)  # type: ignore[attr-defined]
        modes = {part: part.training for part in module.modules()}
        module.eval()
        for name in names:
            with torch.no_grad(), fixed_noise(0, module.device):
                picture = self.drawings[name].draw(context)
            if picture is None:
                continue
            path = self.dirpath / name / f"{filename}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(picture))
            tag = f"test/{name}" if split == "test" else name
            log_picture(trainer.loggers, tag, path, trainer.global_step)
            _thin_out(path.parent, self.max_files)
        for part, training in modes.items():
            part.training = training


def _epochs(folder: Path) -> dict[int, Path]:
    """The pictures of a folder by their epochs, in order."""
    paths = {path.stem.removeprefix("epoch_"): path for path in folder.glob("epoch_*.png")}
    return dict(sorted((int(epoch), path) for epoch, path in paths.items() if epoch.isdecimal()))


def _thin_out(folder: Path, max_files: int) -> None:
    """Delete the epochs that are nearest to their neighbours, but not the first and the last."""
    files = _epochs(folder)
    epochs = list(files)
    while len(epochs) > max_files:
        inner = range(1, len(epochs) - 1)
        nearest = min(inner, key=lambda place: epochs[place + 1] - epochs[place - 1])
        files[epochs.pop(nearest)].unlink()
