"""One-line messages for a command line that cannot be run: what is wrong and what to write."""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from vae_lightning.config import CONF_DIR, compose
from vae_lightning.config.guesses import (
    as_written,
    chosen_as,
    did_you_mean,
    same_name,
    similar,
    variant,
)


def quoted(text: str) -> str:
    """Quote a text for use as the value of an override, unless it looks like a plain path."""
    from hydra.core.override_parser.types import Quote, QuotedString

    if re.fullmatch(r"[\w./-]+", text, re.ASCII):
        return text
    return QuotedString(text.replace("${", r"\${"), Quote.double).with_quotes()


def unreadable(override: str, explanation: str) -> str:
    """The message for an override that Hydra cannot parse, with the reason that Hydra gives."""
    key, equals, value = override.partition("=")
    if not (key and equals):
        return (
            f"{override} is not a setting: settings are written key=value, quoted as a whole if "
            "they contain a space, as in 'task_name=my runs'"
        )
    # Hydra 1.4 begins with the position of the override.
    empty = ("Error parsing override", "Error when parsing index", "LexerNoViableAlt", "See http")
    reasons = [line for line in explanation.splitlines() if not line.startswith(empty)]
    reason = f" ({reasons[0]})" if reasons and reasons[0].strip(" ^") else ""
    example = shlex.quote(f"{key}={quoted(value)}")
    return f"{override} cannot be read{reason}: text with such characters is written {example}"


def no_option(overrides: Sequence[Any]) -> str | None:
    """The message for the first group that is set to null or a number, if there is one."""
    for item in overrides:
        options = [file.stem for file in (CONF_DIR / item.key_or_group).glob("*.yaml")]
        if options and (item.value() is None or isinstance(item.value(), int | float)):
            return f"{item.input_line} is not an option: {_end((), options)}"
    return None


def explain(error: Exception, config_name: str, overrides: list[str]) -> str:
    """The message for a configuration that Hydra cannot compose, with the nearest key."""
    line = first_line(error)
    if match := re.search(
        r"(?:override|delete)(?: config value| from config\.)? '([^']+)'", line
    ) or re.search(r"Key '([^']+)' is not in struct", line):
        key = match[1]
        others = [item for item in overrides if not item.lstrip("+~").startswith(key)]
        try:
            composed = compose(config_name, others, with_hydra=True)
            known = {name for name in _keys(composed) if name.partition(".")[0] != "hydra"}
        except Exception:  # something else is wrong as well: one message is enough
            return f"{key} is not a key of the configuration"
        if key in known and any(item.partition("=")[0] == f"~{key}" for item in overrides):
            return f"{key} cannot be left out"  # Hydra cannot delete a null
        if message := _elsewhere(key, config_name, known, composed.hydra.runtime.choices):
            return message
        parent, dot, leaf = key.rpartition(".")
        siblings = {name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == parent}
        siblings = {name for name in siblings if not name.startswith("_")}
        value = next((v for k, _, v in (o.partition("=") for o in overrides) if k == key), "")
        if siblings and dot:
            if parent == "trainer" and _is_trainer_argument(leaf):
                return f"{key} is not set in {config_name}: add it with a plus, as in +{key}=..."
            if not (near := same_name(leaf, siblings) or similar(leaf, siblings)):
                near = _with_option(same_name(leaf, known) or _variant(leaf, known), value)
            return f"{leaf} is not a key of {parent}: {_end(near, siblings)}"
        near = same_name(key, known) or _variant(key, known) or similar(key, known)
        end = _end(_with_option(near, value), siblings)
        return f"{key} is not a key of the configuration: {end}"
    if match := re.search(r"(?:Ambiguous value for argument|Sweep parameters) '([^'=]+)", line):
        return f"{match[1]} has several values: add -m to run one job for each"
    return line


def no_such_option(group: str, option: str, options: Sequence[str]) -> str:
    """The message for an option that a group does not have."""
    near = (
        same_name(option, options)
        or _variant(option, [group.partition("/")[0]])
        or similar(option, options)
    )
    return f"{group}={option} does not exist: {_end(near, options)}"


def no_section(config: Any) -> str | None:
    """The message for the first group at whose key there is a plain value, if there is one."""
    from omegaconf import OmegaConf

    for choice in config.hydra.runtime.choices:
        group, _, package = choice.partition("@")
        path = (package or group).replace("/", ".")
        try:
            value = OmegaConf.select(config, path)
        except Exception:  # an interpolation that cannot be resolved is reported later
            continue
        if isinstance(value, str | int | float) and "." in path:
            setting = chosen_as(choice, value)
            return f"{path}={value} should be a section: to choose an option, write {setting}"
    return None


def left_out(config: Any, overrides: Sequence[Any]) -> str | None:
    """The message for the first argument of a class that is deleted, if there is one.

    The class would take a value of its own, which no record of the run shows. With another class
    on the command line, arguments that it does not have are left out on purpose.
    """
    from omegaconf import OmegaConf

    given = {item.key_or_group for item in overrides}
    for item in overrides:
        parent, dot, leaf = item.key_or_group.rpartition(".")
        target = f"{parent}._target_"
        deleted = item.is_delete() and dot and target not in given
        if deleted and OmegaConf.select(config, target) is not None:
            key = as_written(f"{parent}.{leaf}")
            return f"{parent}.{leaf} cannot be left out: set it, as in {key}=..."
    return None


def _variant(name: str, known: Collection[str]) -> list[str]:
    """The settings of a variant, in a list, where models are chosen; an empty list otherwise."""
    settings = variant(name) if {"model", "objective", "experiment"} & set(known) else None
    return [settings] if settings else []


def _with_option(keys: Sequence[str], value: str) -> list[str]:
    """Keys, those of groups with the option that was asked for, if they have it."""
    return [
        f"{key}={value}" if (CONF_DIR / key / f"{value}.yaml").is_file() else key for key in keys
    ]


def _end(near: Sequence[str], listed: Collection[str]) -> str:
    return did_you_mean(near) if near else f"there are: {', '.join(sorted(listed))}"


def _elsewhere(
    key: str, config_name: str, known: Collection[str], choices: Mapping[str, str]
) -> str | None:
    """The message for a key that another option, or another command, has; None for other keys."""
    group, *below = key.split(".")
    if group in choices:
        # A key in the file of an option that was not chosen.
        if (
            below
            and below[0] != choices[group]
            and f"{group}.{below[0]}" not in known
            and (CONF_DIR / group / f"{below[0]}.yaml").is_file()
        ):
            option = f"[default,{below[0]}]" if group == "callbacks" else below[0]
            return f"{key} is a key of {group}={option}: choose that first"
        return None
    for own, others in (("trainer", "device"), ("device", "trainer")):
        if group == others and own in known:
            return f"{key} is not a key of {config_name}: set {own} instead, as in {own}=cpu"
    if not (CONF_DIR / group).is_dir() or (below and group in known):
        return None
    parent = group.partition("/")[0]
    if parent in choices:
        return f"{group} is not a part of {parent}={choices[parent]}"
    commands = _commands_with(parent)
    if commands == ["train"]:
        return (
            f"{group} is an option of train: {config_name} uses what the checkpoint was "
            "trained with"
        )
    return f"{group} is an option of {' and '.join(commands)}"


def _is_trainer_argument(key: str) -> bool:
    """Whether Lightning's Trainer has this argument, though no file of `conf/trainer` sets it."""
    from inspect import signature

    from lightning import Trainer

    return key in signature(Trainer).parameters


def _commands_with(group: str) -> list[str]:
    """The commands whose configuration chooses from a group."""
    from omegaconf import OmegaConf

    entries = {
        path.stem: OmegaConf.select(OmegaConf.load(path), "defaults")
        for path in CONF_DIR.glob("*.yaml")
    }
    return sorted(
        name
        for name, defaults in entries.items()
        if any(not isinstance(entry, str) and group in entry for entry in defaults)
    )


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    from omegaconf import DictConfig

    for key in config:
        yield f"{prefix}{key}"
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none():
            yield from _keys(node, f"{prefix}{key}.")


def first_line(error: Exception) -> str:
    """The first line of an error's message that is not empty; its type if there is none."""
    return next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
