"""Range checks for constructor arguments. Commands put the configuration key before the message."""

import math
from collections.abc import Sequence


def at_least(name: str, value: float, minimum: float) -> None:
    """Check that a number is at least `minimum`, and not NaN.

    Raises:
        ValueError: it is not; the message starts with `name=value`.
    """
    if not value >= minimum:
        raise ValueError(f"{name}={value} is out of range: it must be at least {minimum}")


def positive(name: str, value: float) -> None:
    """Check that a number is finite and above zero.

    Raises:
        ValueError: it is not; the message starts with `name=value`.
    """
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name}={value} is out of range: it must be a finite number above 0")


def fraction(name: str, value: float) -> None:
    """Check that a number is from 0 to 1, and not NaN.

    Raises:
        ValueError: it is not; the message starts with `name=value`.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value} is out of range: it must be from 0 to 1")


def all_at_least(name: str, values: Sequence[float], minimum: float) -> None:
    """Check that all numbers of a list are at least `minimum`.

    Raises:
        ValueError: one is not; the message starts with `name=values`.
    """
    if any(not value >= minimum for value in values):
        raise ValueError(
            f"{name}={list(values)} is out of range: each number must be at least {minimum}"
        )
