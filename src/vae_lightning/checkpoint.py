"""What a checkpoint holds, and how a model is rebuilt from one without running code from it."""

from pathlib import Path
from typing import Any, Literal

import torch

from vae_lightning import __version__
from vae_lightning.config import instantiate
from vae_lightning.errors import CheckpointError, ConfigError
from vae_lightning.models import Model

# Keys that classes did not have at first, and what they did then.
_BEFORE: dict[str, dict[str, Any]] = {
    "vae_lightning.networks.MLPEncoder": {"batch_norm": False},
    "vae_lightning.networks.MLPDecoder": {"batch_norm": False},
    "vae_lightning.distributions.posteriors.flow.Flow": {"passes": None},
}


def find(path: str | Path, first: Literal["best", "last"] = "best") -> Path:
    """The checkpoint file that a path means: the file itself, or one of a run's folder.

    Args:
        path: of the file or folder.
        first: which one of a folder; the other where that is missing.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return path
    if not path.exists():
        raise CheckpointError(f"{path} does not exist")
    names = ["best.ckpt", "last.ckpt"]
    for name in names if first == "best" else reversed(names):
        for folder in (path, path / "checkpoints"):
            if (folder / name).is_file():
                return folder / name
    raise CheckpointError(f"{path} holds no checkpoint: there is no checkpoints/best.ckpt in it")


def read(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint: tensors and plain containers, so that nothing in the file is run.

    Raises:
        CheckpointError: it is missing, broken, or not of this project.
    """
    path = find(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} is not a checkpoint, or is cut short") from error
    if not (_has(content, "config") and _has(content, "state_dict")) or not _has(
        content["config"], "model"
    ):
        raise CheckpointError(f"{path} was not written by vae_lightning: it has no configuration")
    content["config"]["model"] = _completed(content["config"]["model"])
    return content


def _completed(node: Any) -> Any:
    """A node of an older checkpoint with the keys that have come since."""
    if not isinstance(node, dict):
        return node
    completed = {key: _completed(value) for key, value in node.items()}
    return {**_BEFORE.get(node.get("_target_", ""), {}), **completed}


def _has(node: Any, key: str) -> bool:
    return isinstance(node, dict) and isinstance(node.get(key), dict)


def load(path: str | Path) -> Model:
    """Rebuild a trained model, in evaluation mode on the CPU.

    Args:
        path: a checkpoint, or the folder of a run (its best checkpoint).

    Raises:
        CheckpointError: there is no checkpoint, or its weights do not fit its configuration.
    """
    content = read(path)
    prefix = "model."
    weights = {
        name.removeprefix(prefix): value
        for name, value in content["state_dict"].items()
        if name.startswith(prefix)
    }
    try:
        model = instantiate(content["config"]["model"], "model")
        if not isinstance(model, Model):
            raise ConfigError(f"its configuration describes no model but a {type(model).__name__}")
        model.load_state_dict(weights)
    except (ConfigError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{find(path)} cannot be rebuilt{_by(content)}: {reason}") from error
    return model.eval()


def _by(content: dict[str, Any]) -> str:
    """Which version wrote a checkpoint, where it is not this one."""
    written = content.get("vae_lightning_version", "of before 0.1.0")
    return (
        ""
        if written == __version__
        else f" (vae_lightning {written} wrote it, {__version__} is here)"
    )


def check_same_model(path: str | Path, model_config: dict[str, Any]) -> None:
    """Check that training can go on from a checkpoint.

    Raises:
        CheckpointError: it holds another model than `model_config` describes; the keys are named.
    """
    stored = _flat(read(path)["config"]["model"])
    asked = _flat(model_config)
    for key in sorted(stored.keys() | asked.keys()):
        if stored.get(key) != asked.get(key):
            raise CheckpointError(
                f"{find(path)} holds another model: it was trained with "
                f"{key}={stored.get(key)}, not {asked.get(key)}"
            )


def check_epochs_left(path: str | Path, max_epochs: int | None) -> None:
    """Check that a checkpoint is not of a later epoch than training is to end with.

    Raises:
        CheckpointError: it is.
    """
    epoch = read(path).get("epoch", 0)
    if max_epochs is not None and 0 <= max_epochs < epoch:
        raise CheckpointError(
            f"{find(path)} is of epoch {epoch + 1}: trainer.max_epochs={max_epochs} is too few "
            "to go on from it"
        )


def _flat(node: Any, path: str = "model") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {path: node}
    flat = {}
    for key, value in node.items():
        flat.update(_flat(value, f"{path}.{key}"))
    return flat
