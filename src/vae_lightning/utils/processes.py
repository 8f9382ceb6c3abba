"""What the processes of a run on several devices tell each other."""

import time
from typing import Any, TypeVar

import torch
from torch import distributed

T = TypeVar("T")


def of_each_process(value: T) -> list[T]:
    """The values of all processes, in the order of their ranks; all of them call this at once."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [value]
    values: list[T] = [value] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


class Agreement:
    """Has all processes stop after the same step, soon after one of them is told to.

    If one stopped by itself, the others would wait for its gradients. They ask each other twice per
    second: to do so in each step takes 0.15 to 0.3 ms on a machine, which is 3 % of a short step.
    """

    def __init__(self) -> None:
        self._group: Any = None
        self._due = 0  # the step after which they ask each other next
        self._asked = (0, 0.0)  # step and time

    def on_signal(self, step: int, signum: int | None) -> int | None:
        """The signal that any of the processes has received; None if they have not asked yet.

        Args:
            step: just done; all processes call this after the same steps.
            signum: the signal that this process has received, or None.
        """
        if not (distributed.is_available() and distributed.is_initialized()):
            return signum
        if step < self._due:
            return None
        if self._group is None:  # on the CPU, so that no step waits for a GPU
            self._group = distributed.new_group(backend="gloo")
        steps, seconds = step - self._asked[0], time.perf_counter() - self._asked[1]
        in_half_a_second = max(1, min(1000, int(0.5 * steps / seconds)))
        said = torch.tensor([-(signum or 0), in_half_a_second])
        distributed.all_reduce(said, distributed.ReduceOp.MIN, group=self._group)
        self._asked = step, time.perf_counter()
        received, interval = said.tolist()
        self._due = step + interval
        return -received or None
