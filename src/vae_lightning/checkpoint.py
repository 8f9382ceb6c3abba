"""Checkpoints: a file read once, and the model and the data that it describes.

Nothing in a file is run: it holds tensors and plain containers, and what its configuration
describes is built by `config.instantiate`.
"""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from vae_lightning import __version__
from vae_lightning.config import check_node, instantiate
from vae_lightning.errors import CheckpointError, ConfigError
from vae_lightning.models import Model

if TYPE_CHECKING:  # importing it takes seconds, and not every command looks at images
    from vae_lightning.data import ImageDataModule

# Classes that have moved, by the name that older checkpoints have for them.
MOVED = {
    "vae_lightning.distributions.code_maps.CodePrior": (
        "vae_lightning.distributions.codes.CodePrior"
    ),
    "vae_lightning.optimizers.AdamNormGrad": "vae_lightning.training.optimizers.AdamNormGrad",
    "vae_lightning.distributions.posteriors.flow.Flow": (
        "vae_lightning.distributions.posteriors.flow.FlowPosterior"
    ),
    "vae_lightning.distributions.posteriors.von_mises_fisher.VonMisesFisher": (
        "vae_lightning.distributions.posteriors.von_mises_fisher.VonMisesFisherPosterior"
    ),
    "vae_lightning.distributions.priors.flow.Flow": (
        "vae_lightning.distributions.priors.flow.FlowPrior"
    ),
}

# Arguments that classes did not have at first, with the values that give the earlier behaviour.
_ADDED: dict[str, dict[str, Any]] = {
    "vae_lightning.networks.MLPEncoder": {"batch_norm": False},
    "vae_lightning.networks.MLPDecoder": {"batch_norm": False},
    "vae_lightning.distributions.posteriors.flow.FlowPosterior": {"passes": None},
}

# Values that have other names now, by class and key.
_VALIDATION = {"validation": {"held_out": "split"}}
_RENAMED: dict[str, dict[str, dict[str, str]]] = {
    "vae_lightning.data.ImageDataModule": _VALIDATION,
    "vae_lightning.data.ImageFolderModule": _VALIDATION,
}


def find(path: str | Path, prefer: Literal["best", "last"] = "best") -> Path:
    """The checkpoint file that a path names: the file itself, or one in the folder of a run.

    Args:
        path: of the file or folder.
        prefer: which one of a folder; the other if it is missing.

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
    raise CheckpointError(f"{path} holds no checkpoint: there is no checkpoints/best.ckpt in it")


class Checkpoint:
    """A checkpoint, read once.

    Args:
        path: a file, or the folder of a run.
        prefer: which checkpoint of a folder; the other if it is missing.

    Attributes:
        path: the file.
        content: all that is in it: tensors and plain containers.

    Raises:
        CheckpointError: it is missing, broken, or not of this project.
    """

    def __init__(self, path: str | Path, prefer: Literal["best", "last"] = "best") -> None:
        self.path = find(path, prefer)
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise CheckpointError(f"{self.path} is not a checkpoint, or is cut short") from error
        if not (_has(content, "config") and _has(content, "state_dict")) or not _has(
            content["config"], "model"
        ):
            raise CheckpointError(
                f"{self.path} was not written by vae_lightning: it has no configuration"
            )
        content["config"] = _updated(content["config"])
        self.content: dict[str, Any] = content

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration of the run, in today's names."""
        return self.content["config"]

    @property
    def epoch(self) -> int:
        """The epoch that it was saved in, counted from 0."""
        return self.content.get("epoch", 0)

    @property
    def step(self) -> int:
        """Optimiser steps until then."""
        return self.content.get("global_step", 0)

    def model(self) -> Model:
        """Build the model, in evaluation mode on the CPU.

        Raises:
            CheckpointError: its weights do not fit its configuration.
        """
        prefix = "model."
        weights = {
            name.removeprefix(prefix): value
            for name, value in self.content["state_dict"].items()
            if name.startswith(prefix)
        }
        try:
            model = instantiate(self.config["model"], "model")
            if not isinstance(model, Model):
                raise ConfigError(
                    f"its configuration describes no model but a {type(model).__name__}"
                )
            model.load_state_dict(weights)
        except (ConfigError, KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"{self.path} cannot be rebuilt{self._writer()}: {reason}"
            ) from error
        return model.eval()

    def data(self, data_dir: str | None = None, **changes: Any) -> "ImageDataModule":
        """The data that it was trained on, with nothing read.

        Args:
            data_dir: the folder of all data sets, if it is not where it was in training; a folder
                of images of the user's own is not looked for there.
            changes: settings of `data` that replace those of training, if they are not None.
        """
        from hydra.utils import get_class

        node = dict(self.config["data"])
        check_node(node, "data")
        if data_dir is not None and getattr(get_class(node["_target_"]), "shared_root", True):
            node["root"] = data_dir
        node |= {key: value for key, value in changes.items() if value is not None}
        return instantiate(node, "data")

    def check_same_model(self, model_config: dict[str, Any]) -> None:
        """Check that training can be resumed from it.

        Raises:
            CheckpointError: it holds another model than `model_config` describes; a key that
                differs is named.
        """
        stored, asked = _flat(self.config["model"]), _flat(model_config)
        for key in sorted(stored.keys() | asked.keys()):
            if stored.get(key) != asked.get(key):
                raise CheckpointError(
                    f"{self.path} holds another model: it was trained with "
                    f"{key}={stored.get(key)}, not {asked.get(key)}"
                )

    def check_epochs_left(self, max_epochs: int | None) -> None:
        """Check that it is not of a later epoch than training is to end with.

        Raises:
            CheckpointError: it is.
        """
        if max_epochs is not None and 0 <= max_epochs < self.epoch:
            raise CheckpointError(
                f"{self.path} is of epoch {self.epoch + 1}: trainer.max_epochs={max_epochs} is too "
                "few to resume from it"
            )

    @cached_property
    def _version(self) -> str:
        return self.content.get("vae_lightning_version", "before 0.1.0")

    def _writer(self) -> str:
        """Which version wrote it, if it is not this one."""
        if self._version == __version__:
            return ""
        return f" (written by vae_lightning {self._version}, this is {__version__})"


def load(path: str | Path) -> Model:
    """Rebuild a trained model, in evaluation mode on the CPU.

    Args:
        path: a checkpoint, or the folder of a run (its best checkpoint).

    Raises:
        CheckpointError: there is no checkpoint, or its weights do not fit its configuration.
    """
    return Checkpoint(path).model()


def _updated(node: Any) -> Any:
    """A node of an older checkpoint, in today's names and with the keys that have come since."""
    if isinstance(node, list):
        return [_updated(item) for item in node]
    if not isinstance(node, dict):
        return node
    updated = {key: _updated(value) for key, value in node.items()}
    target = str(updated.get("_target_"))
    if target in MOVED:
        updated["_target_"] = target = MOVED[target]
    for key, names in _RENAMED.get(target, {}).items():
        updated[key] = names.get(str(updated.get(key)), updated.get(key))
    return {**_ADDED.get(target, {}), **updated}


def _has(node: Any, key: str) -> bool:
    return isinstance(node, dict) and isinstance(node.get(key), dict)


def _flat(node: Any, path: str = "model") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {path: node}
    flat = {}
    for key, value in node.items():
        flat.update(_flat(value, f"{path}.{key}"))
    return flat
