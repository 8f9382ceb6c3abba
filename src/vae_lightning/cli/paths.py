"""Paths in messages."""

from pathlib import Path


def relative(path: str | Path) -> Path:
    """A path relative to the working directory if it is inside; otherwise the path itself."""
    here, full = Path.cwd(), Path(path).absolute()
    return full.relative_to(here) if full.is_relative_to(here) else Path(path)
