"""Checks of the keys and values of a configuration. Imports neither torch nor lightning."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_type_hints

from vae_lightning.config.guesses import nearest
from vae_lightning.config.types import describe, fits
from vae_lightning.errors import ConfigError


def check_type(value: Any, hint: Any, path: str) -> None:
    """Check a plain value against a type annotation.

    Raises:
        ConfigError: it has another type.
    """
    if not fits(value, hint):
        raise ConfigError(f"{path}={value} should be {describe(hint)}")


def check_keys(config: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse an unknown key at the top of a configuration, or one that was deleted.

    Raises:
        ConfigError: there is one; for an unknown key the nearest known one is named.
    """
    known = list(known)
    for key in config:
        if key not in known:
            near = nearest(key, _keys({name: config.get(name) for name in known}), known)
            raise ConfigError(f"{key} is not a key of the configuration: {near}")
    for key in known:
        if key not in config:
            raise ConfigError(f"{key} cannot be left out: this command needs it")


def _keys(section: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """All keys of a configuration that a command line can set, with their sections."""
    for key, value in section.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{key}.")


def check_section(section: Any, options: type, path: str) -> None:
    """Check the keys of a section, and the types of their values.

    Args:
        section: plain values by key; anything else is refused.
        options: a `TypedDict` with the type of each key.
        path: the section's own key, for messages.

    Raises:
        ConfigError: it is not a section, or has an unknown key or a value of the wrong type.
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
