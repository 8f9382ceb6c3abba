"""A trained model at work: what every command on a checkpoint shares."""

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_lightning.checks import at_least
from vae_lightning.config import check_node, check_type, instantiate, nearest
from vae_lightning.errors import ConfigError

if TYPE_CHECKING:  # a run needs them; --help and --cfg answer without
    import torch
    from torch import Tensor

    from vae_lightning.data import ImageDataModule
    from vae_lightning.models import Model


def check_trained(config: dict[str, Any]) -> "Model":
    """Refuse what names no checkpoint: nothing is fetched or written.

    Returns:
        the model, in evaluation mode on the CPU.

    Raises:
        ConfigError: a key, type or value that does not fit.
        CheckpointError: `ckpt_path` is no checkpoint.
    """
    from vae_lightning.checkpoint import load

    check_type(config["ckpt_path"], str | None, "ckpt_path")
    if config["ckpt_path"] is None:
        raise ConfigError("ckpt_path is missing: name a checkpoint or the folder of a run")
    if (chosen := config.get("output_dir")) is not None:
        check_type(chosen, str, "output_dir")
        folder = Path(chosen)
        # What Hydra leaves of a run that stopped is not in the way.
        if folder.exists() and not (
            folder.is_dir() and all(item.name == ".hydra" for item in folder.iterdir())
        ):
            raise ConfigError(f"output_dir={chosen} is there already: name a new folder")
    check_type(config["seed"], int, "seed")
    try:
        at_least("seed", config["seed"], 0)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return load(config["ckpt_path"])


def datamodule_of(config: dict[str, Any], **changes: Any) -> "ImageDataModule":
    """The data that a checkpoint was trained on, looked for where the configuration says.

    Args:
        config: with `ckpt_path`, and with `data`: settings that replace the checkpoint's, where
            they are not null.
        changes: further ones.
    """
    from hydra.utils import get_class

    from vae_lightning.checkpoint import read

    stored = read(config["ckpt_path"])["config"]["data"]
    changes |= {key: value for key, value in config["data"].items() if value is not None}
    check_node(stored, "data")
    shared = getattr(get_class(stored["_target_"]), "shared_root", True)
    if not shared and changes.get("root") == os.environ.get("VAE_LIGHTNING_DATA"):
        # The environment says where downloads are, not where a user's own folder is.
        changes.pop("root", None)
    return instantiate(stored | changes, "data")


def device_of(config: dict[str, Any]) -> "torch.device":
    """The device that `device` names: `auto` is the best there is, `gpu` the one besides the CPU.

    Raises:
        ConfigError: it is none, or not here.
    """
    import torch

    here = ["cpu", *filter(None, (_accelerator(),))]
    asked = config["device"]
    if asked == "auto" or (asked == "gpu" and len(here) > 1):
        return torch.device(here[-1])
    if asked not in here:
        known = ["auto", "cpu", "gpu", "cuda", "mps"]
        why = "is not here" if asked in known else f"is not one: {nearest(str(asked), known)}"
        raise ConfigError(f"device={asked} {why}; torch finds {' and '.join(here)}")
    return torch.device(asked)


def _accelerator() -> str | None:
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found.type if found else None


class Studio:
    """A trained model, its data, and a folder to write to.

    Args:
        config: resolved, of a command on a checkpoint: `ckpt_path`, `data`, `device`, `seed` and
            `paths.run_dir` are used.

    Attributes:
        model: in evaluation mode, on `device`.
        folder: where what is made goes; it exists.
        seed: of all noise.
        checkpoint: the file.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        from vae_lightning.checkpoint import find, load

        self.config = config
        self.device = device_of(config)
        self.checkpoint = find(config["ckpt_path"])
        self.model = load(self.checkpoint).to(self.device)
        self.folder = Path(config["paths"]["run_dir"])
        self.seed: int = config["seed"]

    @cached_property
    def datamodule(self) -> "ImageDataModule":
        """The data of training with nothing read: its settings, and what its classes mean."""
        return datamodule_of(self.config)

    @cached_property
    def data(self) -> "ImageDataModule":
        """The data of training, read when it is first looked at.

        Raises:
            DataError: it cannot be had.
        """
        self.datamodule.prepare_data()
        self.datamodule.setup("test")
        return self.datamodule

    def images(self, split: str) -> tuple["Tensor", "Tensor"]:
        """All images of a split as evaluation sees them, on the CPU.

        Shape:
            returns images uint8 (N, C, H, W) and labels int64 (N,).
        """
        return self.data.evaluated(split)

    def shown(self, images: "Tensor") -> "Tensor":
        """Images as the model takes them.

        Shape:
            images uint8 (N, C, H, W); returns float32 (N, C, H, W) in [0, 1], on `device`.
        """
        import torch

        return images.to(self.device, torch.float32).div_(255)
