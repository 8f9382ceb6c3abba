"""What a user is told about the data, in one line each."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from vae_lightning.data.image_files import describe_ignored

# Files or classes that a line names.
_MAX_NAMED = 10


def describe_classes(names: Sequence[str], held_out: Sequence[int]) -> str:
    """The classes by number and those held out; empty if no name differs from its number.

    Example:
        >>> describe_classes(["cat", "dog"], held_out=[1])
        'classes 0: cat, 1: dog; held out: dog'
        >>> describe_classes([f"c{label}" for label in range(20)], held_out=[])
        'classes 0: c0, 1: c1, 2: c2, 3: c3, 4: c4, 5: c5, 6: c6, 7: c7, 8: c8, ..., 19: c19'
    """
    found = []
    if any(name != str(label) for label, name in enumerate(names)):
        named = [f"{label}: {name}" for label, name in enumerate(names)]
        if len(named) > _MAX_NAMED:
            named[_MAX_NAMED - 1 : -1] = ["..."]
        found.append(f"classes {', '.join(named)}")
    if held_out:
        found.append(f"held out: {', '.join(names[label] for label in held_out)}")
    return "; ".join(found)


def describe_unreadable(unreadable: Mapping[str, str], root: Path) -> str:
    """Which files are left out, and why the first one is.

    Args:
        unreadable: the reasons, by path.
        root: of the paths.
    """
    names = [str(Path(path).relative_to(root)) for path in unreadable]
    more = f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
    return (
        f"{len(names):,} files of {root} cannot be read and are left out "
        f"(data.on_error=raise stops at the first): {', '.join(names[:_MAX_NAMED])}{more}; "
        f"{next(iter(unreadable.values()))}"
    )


def describe_constant(levels: Mapping[str, int | None], root: Path) -> str:
    """Which splits have one value in all pixels; empty if none has.

    Args:
        levels: the value, by split; None for a split of more than one.
        root: of the files.
    """
    constant = [f"{split} ({level})" for split, level in levels.items() if level is not None]
    if not constant:
        return ""
    return (
        f"all pixels of all images of a split have one value: {', '.join(constant)}: there is "
        f"nothing to learn from them; look at the files of {root}"
    )


def print_warnings(
    root: Path,
    ignored: Mapping[str, int],
    unreadable: Mapping[str, str],
    levels: Mapping[str, int | None],
) -> None:
    """Print a line for each thing that a user may not expect of the data.

    Args:
        root: of the files.
        ignored: how many files are not read, by ending.
        unreadable: the reasons why files could not be read, by path.
        levels: as for `describe_constant`.
    """
    lines = [
        f"{root} holds {describe_ignored(ignored)}" if ignored else "",
        describe_unreadable(unreadable, root) if unreadable else "",
        describe_constant(levels, root),
    ]
    for line in filter(None, lines):
        print(f"warning: {line}", file=sys.stderr)
