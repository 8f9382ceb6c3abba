"""The objects that all commands on a checkpoint need."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_lightning.cli.device import choose_device
from vae_lightning.config import check_type
from vae_lightning.errors import ConfigError
from vae_lightning.utils.checks import at_least

if TYPE_CHECKING:  # loaded by what runs, not by --help
    import torch
    from torch import Tensor

    from vae_lightning.data import ImageDataModule
    from vae_lightning.models import Model


class Workspace:
    """A trained model, the data that it was trained on, a device, a seed and an output folder.

    Args:
        config: resolved, of a command on a checkpoint: `ckpt_path`, `output_dir`, `data`, `device`,
            `seed` and `paths` are used. Nothing is downloaded or written.

    Attributes:
        checkpoint: the file, read once.
        device: where the model runs.
        folder: where results go.
        seed: of all noise.

    Raises:
        ConfigError: a key, type or value that does not fit.
        CheckpointError: `ckpt_path` is no checkpoint.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        from vae_lightning.checkpoint import Checkpoint

        check_type(config["ckpt_path"], str | None, "ckpt_path")
        if config["ckpt_path"] is None:
            raise ConfigError("ckpt_path is missing: name a checkpoint or the folder of a run")
        check_type(config.get("output_dir"), str | None, "output_dir")
        check_type(config["seed"], int, "seed")
        try:
            at_least("seed", config["seed"], 0)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self.config = config
        self.checkpoint: Checkpoint = Checkpoint(config["ckpt_path"])
        self.device: torch.device = choose_device(config.get("device", "cpu"))
        self.folder = Path(config["paths"]["run_dir"])
        self.seed: int = config["seed"]

    @cached_property
    def model(self) -> "Model":
        """The model, in evaluation mode, on `device`.

        Raises:
            CheckpointError: its weights do not fit its configuration.
        """
        return self.checkpoint.model().to(self.device)

    @cached_property
    def datamodule(self) -> "ImageDataModule":
        """The data of training before it is read: its settings and the names of its classes."""
        return self.data_with()

    def data_with(self, **changes: Any) -> "ImageDataModule":
        """The data of training with other settings, before anything is read."""
        settings = {**self.config["data"], **changes}
        return self.checkpoint.data(self.config["paths"]["data_dir"], **settings)

    @cached_property
    def data(self) -> "ImageDataModule":
        """The data of training, read on first access.

        Raises:
            DataError: it is not available.
        """
        self.datamodule.prepare_data()
        self.datamodule.setup("test")
        return self.datamodule

    def images(self, split: str) -> tuple["Tensor", "Tensor"]:
        """All images of a split, binarized as for evaluation, on the CPU.

        Shape:
            returns images uint8 (N, C, H, W) and labels int64 (N,).
        """
        return self.data.evaluated(split)

    def to_model(self, images: "Tensor") -> "Tensor":
        """Convert images from bytes to what the model expects.

        Shape:
            images uint8 (N, C, H, W); returns (N, C, H, W) in [0, 1], in the model's precision,
            on `device`.
        """
        from vae_lightning.utils.pixels import to_float

        return to_float(images, next(self.model.parameters()).dtype, self.device)
