"""Schedules: a factor between 0 and 1 for each training step."""

from abc import ABC, abstractmethod

from vae_lightning.utils.checks import at_least, fraction


class Schedule(ABC):
    """A factor for each training step."""

    @abstractmethod
    def at(self, step: int) -> float:
        """The factor at a step, in [0, 1]. Steps are counted from 0."""


class Constant(Schedule):
    """The factor is always 1.

    Example:
        >>> Constant().at(7)
        1.0
    """

    def at(self, step: int) -> float:
        return 1.0


class Linear(Schedule):
    """The factor increases linearly from 0 to 1 and then stays at 1: a warm-up.

    Args:
        steps: number of steps of the increase.

    Raises:
        ValueError: `steps` below 1.

    References:
        Bowman et al., "Generating Sentences from a Continuous Space", 2016.
        https://arxiv.org/abs/1511.06349

    Example:
        >>> [Linear(steps=4).at(step) for step in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(self, steps: int) -> None:
        at_least("steps", steps, 1)
        self.steps = steps

    def at(self, step: int) -> float:
        return min(1.0, step / self.steps)


class Jump(Schedule):
    """The factor is constant at first and jumps to 1.

    Args:
        steps: number of steps before the jump.
        before: the factor before the jump.

    Raises:
        ValueError: `steps` below 1, or `before` not in [0, 1].

    Example:
        >>> [Jump(steps=2, before=0.1).at(step) for step in range(4)]
        [0.1, 0.1, 1.0, 1.0]
    """

    def __init__(self, steps: int, before: float) -> None:
        at_least("steps", steps, 1)
        fraction("before", before)
        self.steps = steps
        self.before = before

    def at(self, step: int) -> float:
        return self.before if step < self.steps else 1.0


class Cyclical(Schedule):
    """In each cycle the factor increases linearly from 0 to 1 and then stays at 1.

    Args:
        period: number of steps of a cycle.
        rising: fraction of a cycle in which the factor increases.

    Raises:
        ValueError: `period` below 1, or `rising` not in [0, 1].

    References:
        Fu et al., "Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing",
        2019. https://arxiv.org/abs/1903.10145

    Example:
        >>> schedule = Cyclical(period=4, rising=0.5)
        >>> [schedule.at(step) for step in range(6)]
        [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]
    """

    def __init__(self, period: int, rising: float) -> None:
        at_least("period", period, 1)
        fraction("rising", rising)
        self.period = period
        self.rising = rising

    def at(self, step: int) -> float:
        position = step % self.period / self.period
        return 1.0 if position >= self.rising else position / self.rising
