"""The processes of a run on several devices: what they agree on, and how they end together."""

from typing import TypeVar

from torch import distributed

T = TypeVar("T")


def of_each_process(value: T) -> list[T]:
    """The values of all processes, in the order of their ranks; all of them call this at once."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [value]
    values: list[T] = [value] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values
