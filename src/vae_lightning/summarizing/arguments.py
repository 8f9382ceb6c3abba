"""The command line of `summarize`: folders without a key, and lists without brackets."""

import re
from collections.abc import Sequence
from pathlib import Path

from vae_lightning.summarizing.values import split

# Their values hold characters that Hydra reserves, and they may be given several times.
_LISTS = ("where", "group_by")


def as_overrides(arguments: Sequence[str]) -> list[str]:
    """The command line as Hydra reads it.

    Example:
        >>> as_overrides(["runs/a", "where=seed=0", "where=data=mnist", "metric=test/nll"])
        ['metric=test/nll', 'folders=["runs/a"]', 'where=["seed=0","data=mnist"]']
    """
    if {"--help", "-h"} & set(arguments):
        return list(arguments)
    others, folders = [], []
    lists: dict[str, list[str]] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        # A folder may have = in its name, as those of jobs of a sweep.
        is_setting = equals and re.fullmatch(r"[\w.+~]+", key) and not Path(argument).is_dir()
        if key in _LISTS and is_setting and value != "null":
            lists.setdefault(key, []).extend(split(value))
        elif argument.startswith("-") or is_setting:
            others.append(argument)
        else:
            folders.append(argument)
    if folders:
        lists = {"folders": folders, **lists}
    return others + [f"{key}=[{','.join(map(_quoted, x))}]" for key, x in lists.items()]


def _quoted(text: str) -> str:
    """A text that Hydra takes for a text, whatever it holds."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text.replace("${", r"\${"), Quote.double).with_quotes()
