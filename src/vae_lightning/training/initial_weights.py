"""Starting a run from the weights of another one: `init_from`."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vae_lightning.checkpoint import Checkpoint
from vae_lightning.config import instantiate
from vae_lightning.errors import CheckpointError, ConfigError
from vae_lightning.models import Model
from vae_lightning.utils.data_dependent import DataDependent, TrainingImages
from vae_lightning.utils.image_size import as_written

# Settings of a model by key, with the value in a checkpoint and the one of this run.
_Changes = dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class InitialWeights:
    """What a model has taken from a checkpoint, by the names of its parts.

    Attributes:
        path: the file, absolute.
        taken: the parts whose weights are those of the file.
        new: the parts of another class than in the file, and those that depend on them, which
            start as in any run.
        unused: the parts of the file that this model does not have.
        changes: settings of the parts that were taken which differ, as `key=value (was value)`.
    """

    path: Path
    taken: list[str]
    new: list[str]
    unused: list[str]
    changes: list[str]

    def __str__(self) -> str:
        lists = {"new": self.new, "not used": self.unused, "with": self.changes}
        rest = [f"; {name}: {', '.join(items)}" for name, items in lists.items() if items]
        return f"{', '.join(self.taken)}{''.join(rest)}"


def take_weights(model: Model, node: dict[str, Any], checkpoint: Checkpoint) -> InitialWeights:
    """Copy the weights of a checkpoint into a model, part by part.

    A part is what the model calls by a name: `encoder`, `posterior`, `prior`, `decoder`,
    `likelihood`, or in a hierarchical model `conditionals`. A part takes its weights if the file
    has one of the same name and class. Another class computes something else from its weights, so
    it starts anew: a VampPrior in place of a standard normal, or another likelihood. So does a part
    whose shapes follow from the class of another one, such as a likelihood after another decoder.

    Where shapes differ because of a setting, such as `model.latent_dim`, the file is refused.
    A size that differs is more often forgotten than meant, and a part that started anew would hide
    that it has lost what it had learnt.

    Weights include buffers, such as the averages of a batch normalisation. The optimiser, the
    objective, the epoch and the random state are not taken.

    Args:
        model: with new weights; changed in place.
        node: the configuration that it was built from.
        checkpoint: the file.

    Raises:
        CheckpointError: weights have other shapes because of a setting, or no weights fit; the
            message names them, and the settings that would fit.
    """
    trained = checkpoint.model()
    ours, theirs = _weights_by_part(model), _weights_by_part(trained)
    same = [part for part in ours if _classes(model, part) == _classes(trained, part)]
    unfit = [part for part in same if _shapes(ours[part]) != _shapes(theirs[part])]
    changes = _changes(checkpoint.config["model"], node)
    if causes := _causes(node, changes, {part: _shapes(ours[part]) for part in unfit}):
        affected = [part for part in unfit if any(part in parts for parts in causes.values())]
        differences = [_difference(theirs[part], ours[part]) for part in affected]
        settings = dict.fromkeys(_setting(key, changes[key][0]) for key in causes)
        raise CheckpointError(
            f"{checkpoint.path} does not fit this model: {'; '.join(differences)}: set "
            f"{' and '.join(settings)}"
        )
    taken = [part for part in same if ours[part] and part not in unfit]
    if not taken:
        others = [part for part, weights in ours.items() if weights]
        raise CheckpointError(
            f"{checkpoint.path} has no weights for this model: none of {', '.join(others)} fits "
            f"a part of that {type(trained).__name__}; leave out init_from to start anew"
        )
    model.load_state_dict(
        {name: value for part in taken for name, value in theirs[part].items()}, strict=False
    )
    return InitialWeights(
        path=checkpoint.path,
        taken=taken,
        new=[part for part in ours if part not in same or part in unfit],
        unused=[part for part, weights in theirs.items() if weights and part not in ours],
        changes=[
            f"{key}={_written(now)} (was {_written(before)})"
            for key, (before, now) in changes.items()
        ],
    )


def initialize_from_images(
    model: nn.Module, objective: nn.Module, data: TrainingImages, trained: Collection[str]
) -> None:
    """Initialise what depends on the training images, except the parts with trained weights.

    Args:
        model: its parts are initialised in place.
        objective: likewise.
        data: the training images.
        trained: the names of the parts of the model that have trained weights.
    """
    parts = [part for name, part in model.named_modules() if name.partition(".")[0] not in trained]
    for part in (*parts, *objective.modules()):
        if isinstance(part, DataDependent):
            part.initialize_from(data)


def first_weights(
    asked: str | None, initial: InitialWeights | None, resumed: Checkpoint | None
) -> str | None:
    """The file that a run started from, which its configuration keeps.

    A run that is resumed takes all its weights from the checkpoint. It keeps the name of the file
    that the earlier run started from, which need not exist any more.

    Args:
        asked: the value of `init_from`.
        initial: what was taken from it; None of a run that is resumed.
        resumed: the checkpoint to resume from or to test.

    Raises:
        ConfigError: another file is asked for, although the earlier run started from none.
    """
    if resumed is None:
        return str(initial.path) if initial else None
    earlier = resumed.config.get("init_from")
    if asked is not None and earlier is None:
        raise ConfigError(
            f"init_from={asked} has no effect on a run that takes all weights from "
            f"ckpt_path={resumed.path}: leave out one of the two"
        )
    return earlier


def _weights_by_part(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Parameters and buffers of each part, by their names in the model."""
    found: dict[str, dict[str, Tensor]] = {name: {} for name, _ in model.named_children()}
    for name, value in model.state_dict().items():
        found.setdefault(name.partition(".")[0], {})[name] = value
    return found


def _classes(model: nn.Module, part: str) -> set[type]:
    """The class of a part, or those in a list of layers."""
    found = getattr(model, part, None)
    return {*map(type, found)} if isinstance(found, nn.ModuleList) else {type(found)}


def _shapes(weights: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in weights.items()}


def _difference(before: dict[str, Tensor], now: dict[str, Tensor]) -> str:
    """The first difference between the weights of a part, in words."""
    for name in (*now, *before):
        if name not in now:
            return f"{name} is not a weight of this model"
        if name not in before:
            return f"{name} is missing there"
        if before[name].shape != now[name].shape:
            return f"{name} is {tuple(before[name].shape)} there, {tuple(now[name].shape)} here"
    raise AssertionError("the weights have the same names and shapes")


def _changes(before: dict[str, Any], now: dict[str, Any], path: str = "model") -> _Changes:
    """The settings that differ, of the model and of the parts that have the same class."""
    found: _Changes = {}
    for key in (key for key in now if key in before and key != "_target_"):
        old, new = before[key], now[key]
        if not (isinstance(old, dict) and isinstance(new, dict)):
            if old != new:
                found[f"{path}.{key}"] = (old, new)
        elif old.get("_target_") == new.get("_target_"):
            found |= _changes(old, new, f"{path}.{key}")
    return found


def _causes(
    node: dict[str, Any], changes: _Changes, unfit: dict[str, dict[str, torch.Size]]
) -> dict[str, list[str]]:
    """The settings on which the shapes of parts depend, each with these parts.

    Args:
        node: the configuration of the model.
        changes: settings that may be the cause.
        unfit: the shapes of each part that does not fit, as the model has them.
    """
    found = {}
    for key, (before, _) in changes.items():
        try:
            others = _weights_by_part(instantiate(_with(node, key, before), "model"))
        except ConfigError:  # it goes with another setting that differs
            others = {}
        parts = [part for part, now in unfit.items() if _shapes(others.get(part, {})) != now]
        if parts:
            found[key] = parts
    return found


def _with(node: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of the configuration of a model, with another value of a key."""
    _, *sections, last = key.split(".")
    changed = inner = dict(node)
    for section in sections:
        inner[section] = inner = dict(inner[section])
    inner[last] = value
    return changed


def _setting(key: str, value: Any) -> str:
    """A setting as it is written on a command line; the shape of images is one of the data."""
    if key.endswith(".image_shape"):
        channels, height, width = value
        return f"data.channels={channels} and data.size={_written(as_written(height, width))}"
    return f"{key}={_written(value)}"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
