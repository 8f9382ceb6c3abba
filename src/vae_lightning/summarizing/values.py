"""Settings as flat keys and as text."""

import math
from collections.abc import Hashable, Sequence
from typing import Any


def plain_keys(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration by flat keys; the name of a class is the value of its section.

    Example:
        >>> plain_keys({"model": {"_target_": "a.VAE", "latent_dim": 2, "sizes": [1, 2]}})
        {'model': 'VAE', 'model.latent_dim': 2, 'model.sizes': [1, 2]}
    """
    flat: dict[str, Any] = {}

    def visit(node: Any, path: str) -> None:
        if not isinstance(node, dict):
            flat[path] = node
            return
        for key, value in node.items():
            if key == "_target_":
                flat[path] = str(value).rpartition(".")[2]
            elif not str(key).startswith("_"):
                visit(value, f"{path}.{key}" if path else str(key))

    visit(config, "")
    return flat


def shown(value: Any) -> str:
    """A value as it is written on the command line.

    Example:
        >>> [shown(value) for value in (None, True, 0.001, [400, 200], "vamp")]
        ['null', 'true', '0.001', '[400,200]', 'vamp']
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    return str(value)


def same(value: Any) -> Hashable:
    """Something that is equal for equal settings: 1 and 1.0, and the text `1e-3` and 0.001."""
    if is_number(value):
        return float(value)
    text = shown(value).replace(" ", "")
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def is_number(value: Any) -> bool:
    """Whether a value is a number; false and true are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def split(text: str) -> list[str]:
    """The parts of a list in text, between commas outside of brackets.

    Example:
        >>> split("[a=1,b=[2,3]]"), split("a=1,2")
        (['a=1', 'b=[2,3]'], ['a=1', '2'])
    """
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last parts of some keys, as many as tell them from each other.

    Example:
        >>> short_names(["model.latent_dim", "model.encoder.hidden", "model.decoder.hidden"])
        {'model.latent_dim': 'latent_dim', 'model.encoder.hidden': 'encoder.hidden', \
'model.decoder.hidden': 'decoder.hidden'}
    """
    names = {}
    for key in keys:
        parts = key.split(".")
        others = [other.split(".") for other in keys if other != key]
        count = 1
        while count < len(parts) and any(x[-count:] == parts[-count:] for x in others):
            count += 1
        names[key] = ".".join(parts[-count:])
    return names


def label(setting: dict[str, Any], names: dict[str, str]) -> list[str]:
    """A setting as texts `name=value`; keys that a run does not have are left out."""
    return [f"{names[key]}={shown(value)}" for key, value in setting.items() if value is not ABSENT]


class _Absent:
    def __str__(self) -> str:
        return ""


# The value of a key that a run does not have.
ABSENT = _Absent()
