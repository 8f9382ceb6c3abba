"""Text in two columns that fits a terminal of 80 characters."""

import re
import textwrap
from collections.abc import Iterable

WIDTH = 79


def row(name: str, description: str, column: int = 30) -> str:
    """A name and its description, which begins below a name that is too long."""
    lines = wrapped(description, column)
    if len(name) > WIDTH - 2:
        key, _, value = name.partition("=")
        rows = [""]
        for part in re.split("(?<=,)", value):  # breaks a list after a comma
            if len(rows[-1] + part) > WIDTH - 4:
                rows.append("")
            rows[-1] += part
        name = "\n    ".join([f"{key}=", *rows])
    name = f"  {name}"
    if lines and len(name) < column - 1:
        lines[0] = name.ljust(column) + lines[0].lstrip()
        return "\n".join(lines)
    return "\n".join([name, *lines])


def table(rows: Iterable[tuple[str, str]], column: int = 30) -> str:
    """Names and their descriptions, a row each."""
    return "\n".join(row(*item, column) for item in rows)


def wrapped(text: str, indent: int) -> list[str]:
    """The lines of a paragraph."""
    margin = " " * indent
    return textwrap.wrap(
        " ".join(text.split()),
        width=WIDTH,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )


def prose(text: str, indent: int = 0) -> str:
    """A comment of several paragraphs, in which lines with an indentation stay as they are."""
    lines: list[str] = []
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.strip() and not line.startswith("  "):
            paragraph.append(line)
            continue
        lines += wrapped(" ".join(paragraph), indent)
        lines.append(line)
        paragraph = []
    return "\n".join(lines).rstrip()


def without_examples(text: str) -> tuple[str, str]:
    """A comment without its lines that have an indentation, and these."""
    lines = text.splitlines()
    words = [line for line in lines if not line.startswith("  ")]
    examples = [line for line in lines if line.startswith("  ")]
    return "\n".join(words).strip(), "\n".join(examples)


def headline(text: str) -> str:
    """The first sentence of a comment, up to its first colon outside of quotes."""
    found = re.match(r'(?:"[^"]*"|[^":]|:(?! ))*', first_sentence(text))
    return found[0] if found else ""


def first_sentence(text: str) -> str:
    """The first sentence of a comment."""
    flat = " ".join(without_examples(text)[0].split())
    return flat.partition(". ")[0].removesuffix(".") + "." if flat else ""
