"""Python values as overrides of a command line."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vae_lightning.errors import ConfigError


def override(key: str, value: Any) -> str:
    """The override that sets a key to a value.

    Args:
        key: of the configuration, such as `trainer.max_epochs`.
        value: None, a bool, a number, text, a path, or a list or dict of these.

    Raises:
        ConfigError: the value is of another type.

    Example:
        >>> override("parts", ["likelihood", "latents"])
        'parts=["likelihood","latents"]'
        >>> override("test", False), override("ckpt_path", None)
        ('test=false', 'ckpt_path=null')
    """
    return f"{key}={_text(key, value)}"


def _text(key: str, value: Any) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of NumPy or torch
        value = value.item()
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | os.PathLike):
        # Quoted, because "1" and "null" are text.
        text = os.fspath(value).replace("${", r"\${")
        return QuotedString(text, Quote.double).with_quotes()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_text(key, item)}" for name, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(_text(key, item) for item in value) + "]"
    raise ConfigError(f"{key}={value!r} is a {type(value).__name__}: give a number, text or a list")
