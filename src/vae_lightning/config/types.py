"""Checking the plain values of a configuration against type annotations."""

import types
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin

_SCALARS = (bool, int, float, str, type(None))
_LISTS = (list, Sequence, tuple)
_UNIONS = (Union, types.UnionType)


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value has a type; types that plain values cannot have accept anything."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in _UNIONS:
        return any(fits(value, option) for option in _plain(arguments))
    if origin is Literal:
        return value in arguments
    if _is_fixed_tuple(hint):
        return (
            isinstance(value, list)
            and len(value) == len(arguments)
            and all(fits(item, of) for item, of in zip(value, arguments, strict=True))
        )
    if origin in _LISTS:
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
    if origin in _UNIONS:
        return " or ".join(describe(option) for option in _plain(arguments))
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in arguments)
    if _is_fixed_tuple(hint):
        return f"a list of {len(arguments)}: {', '.join(describe(of) for of in arguments)}"
    if origin in _LISTS:
        return f"a list, each item {describe(arguments[0])}" if arguments else "a list"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return "null" if hint is type(None) else names.get(hint, getattr(hint, "__name__", str(hint)))


def _is_fixed_tuple(hint: Any) -> bool:
    arguments = get_args(hint)
    return get_origin(hint) is tuple and bool(arguments) and arguments[-1] is not Ellipsis


def _plain(options: Sequence[Any]) -> Sequence[Any]:
    """The options of a union that plain values can have; all of them if there are none."""
    plain = [
        option
        for option in options
        if not isinstance(option, type) or option in (*_SCALARS, *_LISTS)
    ]
    return plain or options
