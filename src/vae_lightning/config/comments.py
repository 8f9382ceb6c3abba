"""What the files in `conf/` say about themselves: the comments above their keys and options.

`--help` shows these comments, so that each key is described in one place. Imports neither torch
nor lightning.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Key:
    """A key of a configuration file.

    Attributes:
        name: with the keys above it, as on the command line.
        value: as the file has it; None for a section.
        comment: the comment lines above it, without `#`.
    """

    name: str
    value: str | None
    comment: str


@dataclass(frozen=True)
class Choice:
    """An entry of the list `defaults` of a configuration file.

    Attributes:
        group: as the file names it; empty for another option of the same group.
        option: the chosen one, or several, or None.
        comment: the comment lines above it, without `#`.
        overrides: it replaces a choice that is made elsewhere.
    """

    group: str
    option: str | list[str] | None
    comment: str
    overrides: bool


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file and its comments.

    Attributes:
        comment: the comment at its top, without `#`.
        is_global: its keys belong to no group (`@package _global_`).
        choices: its list `defaults`, without `_self_`.
        keys: those below `defaults`, in order, without `_target_` and `_partial_`.
    """

    comment: str
    is_global: bool
    choices: list[Choice]
    keys: list[Key]


@cache
def read(file: Path) -> ConfigFile:
    """Read a file of `conf/`."""
    import yaml

    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    top: list[str] = []
    for line in lines:
        if not line.startswith("#"):
            break
        top.append(line)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    entries = root.value if isinstance(root, yaml.MappingNode) else []
    choices: list[Choice] = []
    keys: list[Key] = []
    for key, value in entries:
        if key.value == "defaults":
            choices += [_choice(lines, item) for item in value.value if item.value != "_self_"]
        else:
            keys += _keys(lines, text, key, value, "")
    words = [line for line in top if not line.startswith("# @package")]
    return ConfigFile(_text(words), len(words) < len(top), choices, keys)


def _choice(lines: list[str], item: Any) -> Choice:
    comment = _comment_above(lines, item.start_mark.line)
    if isinstance(item.value, str):
        return Choice("", item.value, comment, overrides=False)
    ((key, node),) = item.value
    group = key.value.removeprefix("override ")
    option = [part.value for part in node.value] if isinstance(node.value, list) else node.value
    return Choice(group, None if option == "null" else option, comment, group != key.value)


def _keys(lines: list[str], text: str, key: Any, node: Any, parent: str) -> Iterator[Key]:
    import yaml

    name = f"{parent}{key.value}"
    if key.value in ("_target_", "_partial_"):
        return
    comment = _comment_above(lines, key.start_mark.line)
    if isinstance(node, yaml.MappingNode):
        if comment:
            yield Key(name, None, comment)
        for below, value in node.value:
            yield from _keys(lines, text, below, value, f"{name}.")
    elif isinstance(node, yaml.SequenceNode) and not node.flow_style:
        yield Key(name, f"[{','.join(item.value for item in node.value)}]", comment)
    else:
        value = text[node.start_mark.index : node.end_mark.index]
        yield Key(name, value.replace(", ", ","), comment)


def _comment_above(lines: list[str], number: int) -> str:
    """The comment that ends above a line, unless it is the one at the top of the file."""
    start = number
    while start > 0 and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    return _text(lines[start:number]) if start > 0 else ""


def _text(lines: list[str]) -> str:
    return "\n".join(line.lstrip().removeprefix("#").removeprefix(" ") for line in lines)
