"""Checkpoints: a file that is read once, and the model and the data that it describes.

A checkpoint holds tensors and plain containers. No code from it runs: `config.instantiate` builds
what its configuration describes, from a list of allowed packages.
"""

import warnings
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from vae_lightning import __version__
from vae_lightning.config import check_node, instantiate
from vae_lightning.config.older_versions import updated
from vae_lightning.errors import CheckpointError, ConfigError, DataError
from vae_lightning.models import Model

if TYPE_CHECKING:  # importing it takes seconds, and not every command looks at images
    from vae_lightning.data import ImageDataModule
    from vae_lightning.data.origin import DataOrigin


def find(path: str | PathLike[str], prefer: Literal["best", "last"] = "best") -> Path:
    """Find a checkpoint: the file itself, or one in the folder of a run.

    Args:
        path: of the file or folder.
        prefer: which one to take from a folder; the other one if it is missing.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return path
    if not path.exists():
        raise CheckpointError(f"{path} does not exist")
    names = ["best.ckpt", "last.ckpt"]
    for name in names if prefer == "best" else reversed(names):
        for folder in (path, path / "checkpoints"):
            if (folder / name).is_file():
                return folder / name
    if any(path.glob("*/checkpoints")):
        raise CheckpointError(f"{path} is not a run, but holds runs: name one of them")
    raise CheckpointError(f"{path} holds no checkpoint: there is no checkpoints/best.ckpt in it")


class Checkpoint:
    """A checkpoint, read once.

    Args:
        path: a file, or the folder of a run.
        prefer: which one to take from a folder; the other one if it is missing.

    Attributes:
        path: the file, absolute.
        content: the whole file: tensors and plain containers.

    Raises:
        CheckpointError: it is missing, broken, not of this project, or of a model that diverged.
    """

    def __init__(self, path: str | PathLike[str], prefer: Literal["best", "last"] = "best") -> None:
        named = find(path, prefer)
        try:
            content = torch.load(named, map_location="cpu", weights_only=True)
        except Exception as error:
            raise CheckpointError(f"{named} is not a checkpoint, or is cut short") from error
        if not (_has(content, "config") and _has(content, "state_dict")) or not _has(
            content["config"], "model"
        ):
            raise CheckpointError(
                f"{named} was not written by vae_lightning: it has no configuration"
            )
        # Absolute, so that it stays the same file if a run changes the working directory.
        self.path = named.absolute()
        content["config"] = updated(content["config"])
        self.content: dict[str, Any] = content
        self._check_finite()

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration of the run, with current names."""
        return self.content["config"]

    @property
    def epoch(self) -> int:
        """The number of the epoch in which it was saved, from 0."""
        return self.content.get("epoch", 0)

    @property
    def step(self) -> int:
        """The number of optimizer steps before it was saved."""
        return self.content.get("global_step", 0)

    @property
    def elbo(self) -> float | None:
        """`val/elbo` of the last validation before it was saved, in nats; None if there is none."""
        return self.content.get("val_elbo")

    def model(self) -> Model:
        """Build the model, in evaluation mode on the CPU.

        Raises:
            CheckpointError: its weights do not fit its configuration.
        """
        try:
            model = instantiate(self.config["model"], "model")
            if not isinstance(model, Model):
                raise ConfigError(
                    f"its configuration describes a {type(model).__name__} and not a model"
                )
            model.load_state_dict(self._weights())
        except (ConfigError, KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"{self.path} cannot be rebuilt{self._writer()}: {reason}"
            ) from error
        return model.eval()

    def data(self, data_dir: str | None = None, **changes: Any) -> "ImageDataModule":
        """Build the data module of the training data; nothing is downloaded or read.

        Without another folder, it is looked for where it was in training, and then at the path as
        it was written, from the working directory.

        Args:
            data_dir: the folder of downloaded data sets, if it is not the one of training. It does
                not apply to data with its own folder, such as `image_folder`.
            changes: settings of `data` that replace those of training, unless they are None.

        Raises:
            DataError: the folder or file is another than in training. It is a warning if it was
                named by `data_dir`, or in `changes`.
        """
        from hydra.utils import get_class

        node = dict(self.config["data"])
        check_node(node, "data")
        given = {key: value for key, value in changes.items() if value is not None}
        cls = get_class(node["_target_"])
        shared, key = getattr(cls, "shared_root", True), getattr(cls, "location_key", "root")
        if data_dir is not None and shared:
            given.setdefault("root", data_dir)
        found = {} if key in given else {key: self.origin.find(node[key], shared)}
        data = instantiate(node | found | given, "data")
        if not found:
            self.check_same_data(data)
        elif self.origin.same_files(data) is False:
            what = "folder" if key == "root" else "file"
            raise DataError(
                f"{self._other_files(data)}: name the {what} of those images with data.{key}=, or "
                "this one to use it"
            )
        return data

    def check_same_data(self, data: "ImageDataModule") -> None:
        """Warn if data that the user named has other files than in training.

        Raises:
            CheckpointError: its classes are those of training, in another order.
        """
        from vae_lightning.data.origin import shortened

        order = self.config["data"].get("class_order")
        if not self.origin.same_order(data, order):
            raise CheckpointError(
                f"the classes of {self.path} have another order than those of "
                f"{data.location}, {shortened(data.class_names)}: set data.class_order={order}"
            )
        if self.origin.same_files(data) is False:
            warnings.warn(self._other_files(data), stacklevel=2)

    @cached_property
    def origin(self) -> "DataOrigin":
        """The data that the model was trained on; it is not known of checkpoints of 0.1.0."""
        from vae_lightning.data.origin import DataOrigin

        target = str(self.config["data"].get("_target_"))
        saved = self.content.get(target.rpartition(".")[2]) or {}
        return DataOrigin(saved.get("root"), saved.get("fingerprint"), saved.get("class_names"))

    def _other_files(self, data: "ImageDataModule") -> str:
        return (
            f"{data.location} does not hold the files that {self.path} was trained on: "
            f"{self.origin.difference(data)}"
        )

    def check_same_model(self, model_config: dict[str, Any]) -> None:
        """Check that training can be resumed from it.

        Raises:
            CheckpointError: it holds another model than `model_config` describes; the message
                names a key that differs.
        """
        stored, asked = _flat(self.config["model"]), _flat(model_config)
        for key in sorted(stored.keys() | asked.keys()):
            if stored.get(key) != asked.get(key):
                raise CheckpointError(
                    f"{self.path} holds another model: it was trained with "
                    f"{key}={stored.get(key)}, not {asked.get(key)}"
                )

    def check_epochs_left(self, max_epochs: int | None) -> None:
        """Check that training to `max_epochs` can resume from it.

        Raises:
            CheckpointError: it is from a later epoch.
        """
        if max_epochs is not None and 0 <= max_epochs < self.epoch:
            raise CheckpointError(
                f"{self.path} is from epoch {self.epoch + 1}: trainer.max_epochs={max_epochs} is "
                "too small to resume from it"
            )

    def _check_finite(self) -> None:
        # No command has a use for such weights, and each would fail in another place.
        for name, value in self._weights().items():
            if not (finite := torch.as_tensor(value).isfinite()).all():
                raise CheckpointError(
                    f"{self.path} holds a model that diverged: {int((~finite).sum()):,} of the "
                    f"{finite.numel():,} values of {name} are not finite; use an earlier "
                    "checkpoint, or train again with a smaller optimizer.lr"
                )

    def _weights(self) -> dict[str, torch.Tensor]:
        """Parameters and buffers of the model, by their names in the model."""
        prefix = "model."
        return {
            name.removeprefix(prefix): value
            for name, value in self.content["state_dict"].items()
            if name.startswith(prefix)
        }

    @cached_property
    def _version(self) -> str:
        return self.content.get("vae_lightning_version", "before 0.1.0")

    def _writer(self) -> str:
        """The version that wrote it, for messages; empty if it is this one."""
        if self._version == __version__:
            return ""
        return f" (written by vae_lightning {self._version}, this is {__version__})"


def load(path: str | PathLike[str]) -> Model:
    """Rebuild a trained model, in evaluation mode on the CPU.

    Args:
        path: a checkpoint, a `Run`, or the folder of one (its best checkpoint).

    Raises:
        CheckpointError: there is no checkpoint, or its weights do not fit its configuration.
    """
    return Checkpoint(path).model()


def _has(node: Any, key: str) -> bool:
    return isinstance(node, dict) and isinstance(node.get(key), dict)


def _flat(node: Any, path: str = "model") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {path: node}
    flat = {}
    for key, value in node.items():
        flat.update(_flat(value, f"{path}.{key}"))
    return flat
