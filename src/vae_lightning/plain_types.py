"""Type annotations, checked against the plain values of a configuration."""

import types
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is of a type; a type that plain values cannot have accepts anything."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in arguments)
    if origin is Literal:
        return value in arguments
    if origin in (list, Sequence, tuple):
        of = arguments[0] if arguments else Any
        return isinstance(value, list) and all(fits(item, of) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str, type(None)):
        return isinstance(value, hint)
    return True


def describe(hint: Any) -> str:
    """A type annotation in words, such as "a whole number or null"."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(option) for option in arguments)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in arguments)
    if origin in (list, Sequence, tuple):
        return f"a list, each item {describe(arguments[0])}" if arguments else "a list"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return "null" if hint is type(None) else names.get(hint, getattr(hint, "__name__", str(hint)))
