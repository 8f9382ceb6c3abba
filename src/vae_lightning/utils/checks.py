"""Range checks for constructor arguments, worded so that a command can put the key in front."""

import math
from collections.abc import Sequence


def at_least(name: str, value: float, minimum: float) -> None:
    """Refuse a number below `minimum`, and NaN.

    Raises:
        ValueError: the message starts with `name=value`.
    """
    if not value >= minimum:
        raise ValueError(f"{name}={value} is out of range: it must be at least {minimum}")


def positive(name: str, value: float) -> None:
    """Refuse a number that is not a finite number above zero.

    Raises:
        ValueError: the message starts with `name=value`.
    """
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name}={value} is out of range: it must be a finite number above 0")


def fraction(name: str, value: float) -> None:
    """Refuse a number below 0 or above 1, and NaN.

    Raises:
        ValueError: the message starts with `name=value`.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value} is out of range: it must be from 0 to 1")


def all_at_least(name: str, values: Sequence[float], minimum: float) -> None:
    """Refuse a list in which a number is below `minimum`.

    Raises:
        ValueError: the message starts with `name=values`.
    """
    if any(not value >= minimum for value in values):
        raise ValueError(
            f"{name}={list(values)} is out of range: each number must be at least {minimum}"
        )
