"""The hyperparameters of a configuration: the keys that influence results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_GROUPS = ("seed", "data", "model", "objective", "optimizer", "scheduler")
_TRAINER = ("accelerator", "precision", "max_epochs", "gradient_clip_val")

# Locations of files, and keys that repeat another key.
_LEFT_OUT = (
    "data", "data.source", "data.root", "data.path", "data.seed", "data.eval_batch_size",
    "data.cache", "data.max_resident_gb", "data.num_workers",
)  # fmt: skip

# What tells runs apart at a glance, of all models and objectives.
_NUMBERS = (
    "data.batch_size", "model.latent_dim", "model.num_codes", "objective.beta",
    "objective.num_samples", "optimizer.lr", "seed", "trainer.max_epochs",
)  # fmt: skip
_NAMES = (
    "data.name", "model", "model.latent_dims", "model.likelihood", "model.posterior",
    "model.prior", "objective", "optimizer",
)  # fmt: skip
# The most important of these first.
_FIRST = (
    "model.latent_dim", "model.latent_dims", "model.num_codes", "model.prior", "objective",
    "optimizer.lr", "seed", "model.posterior", "model.likelihood", "data.batch_size",
)  # fmt: skip


def hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters of a run, flat; the name of a class is the value of its group's key.

    Args:
        config: of a training run, resolved.

    Returns:
        numbers and strings; lists as strings.
    """
    flat: dict[str, Any] = {f"trainer.{key}": config["trainer"].get(key) for key in _TRAINER}

    def visit(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "_target_":
                    flat[path] = value.rpartition(".")[2]
                elif not key.startswith("_"):
                    visit(value, f"{path}.{key}")
        else:
            flat[path] = node

    for group in _GROUPS:
        visit(config.get(group), group)
    flat["freeze"] = config.get("freeze", [])  # checkpoints of 0.1.0 have none
    if config.get("init_from") is not None:
        flat["init_from"] = config["init_from"]
    return {key: _plain(value) for key, value in flat.items() if key not in _LEFT_OUT}


@dataclass(frozen=True)
class Identity:
    """The few hyperparameters that tell a run from others.

    Attributes:
        values: of this run, by key.
        numbers: the keys of numbers, those that this run does not have included.
        names: the keys of strings, likewise.
        first: the keys to show first, at most as many as were asked for.
    """

    values: dict[str, float | str]
    numbers: list[str]
    names: list[str]
    first: list[str]


def identity(config: dict[str, Any], swept: Mapping[str, Any], count: int) -> Identity:
    """The few hyperparameters that tell a run from others, those of its sweep first.

    Args:
        config: of a training run, resolved.
        swept: the keys that the sweep of the run varies, `/` included, with the run's values.
        count: how many keys are to be shown first.
    """
    found = hyperparameters(config)
    varied = {}
    for setting, value in swept.items():
        key = setting.replace("/", ".")
        varied[key] = found.get(key, _plain(value))
    values = {key: found[key] for key in (*_NUMBERS, *_NAMES) if key in found} | varied
    numbers = {key for key in _NUMBERS if _is_number(values.get(key, 0))}
    numbers |= {key for key, value in varied.items() if _is_number(value)}
    first = [*varied, *(key for key in _FIRST if key in values and key not in varied)]
    return Identity(
        values=values,
        numbers=sorted(numbers),
        names=sorted({*_NUMBERS, *_NAMES, *values} - numbers),
        first=first[:count],
    )


def short_name(settings: Mapping[str, Any]) -> str:
    """Settings of hyperparameters, named by the last parts of their keys where these differ.

    Args:
        settings: by keys as they are set, `/` included; other keys are left out.

    Example:
        >>> short_name({"model.latent_dim": 2, "model/prior": "vamp", "trainer": "cpu"})
        'latent_dim=2 prior=vamp'
        >>> short_name({"model.encoder.hidden": [9], "model.decoder.hidden": [9]})
        'encoder.hidden=[9] decoder.hidden=[9]'
    """
    keys = {setting: setting.lstrip("+").replace("/", ".") for setting in settings}
    keys = {setting: key for setting, key in keys.items() if _is_hyperparameter(key)}
    order = ["data", "trainer"]  # after the model and the objective, which tell more
    keys = dict(sorted(keys.items(), key=lambda item: _place(item[1].partition(".")[0], order)))
    last = [key.rpartition(".")[2] for key in keys.values()]
    return " ".join(
        f"{name if last.count(name) == 1 else key.partition('.')[2]}={settings[setting]}"
        for (setting, key), name in zip(keys.items(), last, strict=True)
    )


def _place(group: str, last: list[str]) -> int:
    return last.index(group) if group in last else -1


def _is_hyperparameter(key: str) -> bool:
    group, _, name = key.partition(".")
    if group == "trainer":
        return name in _TRAINER and name != "accelerator"
    return group in (*_GROUPS, "experiment") and (key == "data" or key not in _LEFT_OUT)


def _plain(value: Any) -> float | str:
    return value if _is_number(value) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
