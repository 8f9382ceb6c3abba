"""Checks of the keys and values of a configuration. Imports neither torch nor lightning."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

from vae_lightning.config.types import describe, fits
from vae_lightning.errors import ConfigError


def check_type(value: Any, hint: Any, path: str) -> None:
    """Check a plain value against a type annotation.

    Raises:
        ConfigError: it is of another type.
    """
    if not fits(value, hint):
        raise ConfigError(f"{path}={value} should be {describe(hint)}")


def check_keys(config: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse a key at the top of a configuration that no one reads, or one that was deleted.

    Raises:
        ConfigError: there is one; of a key that no one reads, the nearest known one is named.
    """
    known = list(known)
    for key in config:
        if key not in known:
            raise ConfigError(f"{key} is not a key of the configuration: {nearest(key, known)}")
    for key in known:
        if key not in config:
            raise ConfigError(f"{key} cannot be left out: this command needs it")


def check_section(section: Any, options: type, path: str) -> None:
    """Check the keys of a section, and the types of their values.

    Args:
        section: plain values by key, or what was put in their place.
        options: a `TypedDict` with the type of each key.
        path: the section's own key, for messages.

    Raises:
        ConfigError: no section, a key that is none, or a value of another type.
    """
    hints = get_type_hints(options)
    if not isinstance(section, Mapping):
        example = f"{path}.{next(iter(hints))}=..."
        raise ConfigError(f"{path}={section} should be a section: its keys are set as in {example}")
    for key in section:
        if key not in hints:
            raise ConfigError(f"{path}.{key} is not an option: {nearest(key, hints)}")
    for key, hint in hints.items():
        check_type(section.get(key), hint, f"{path}.{key}")


def nearest(name: str, choices: Iterable[str], listed: Iterable[str] = ()) -> str:
    """The part of a message that helps with a misspelt name.

    Args:
        name: as it was written.
        choices: what it might have meant.
        listed: what to list where nothing is close to it; by default, the choices.
    """
    choices = sorted(choices)
    if close := difflib.get_close_matches(name, choices, n=1, cutoff=0.5):
        return f"did you mean {close[0]}?"
    return f"there are: {', '.join(sorted(listed) or choices)}"
