"""Weights that move during training: from a step to a factor between 0 and 1."""

from abc import ABC, abstractmethod

from vae_lightning.utils.checks import at_least, fraction


class Schedule(ABC):
    """A factor for each step of training."""

    @abstractmethod
    def at(self, step: int) -> float:
        """The factor, in [0, 1], at a step, counted from 0."""


class Constant(Schedule):
    """Always 1."""

    def at(self, step: int) -> float:
        return 1.0


class Linear(Schedule):
    """A rise from 0 to 1 in a straight line, and 1 ever after: a warm-up.

    Args:
        steps: how many steps the rise takes.

    Raises:
        ValueError: `steps` below 1.

    References:
        Bowman et al., "Generating Sentences from a Continuous Space", 2016.
    """

    def __init__(self, steps: int) -> None:
        at_least("steps", steps, 1)
        self.steps = steps

    def at(self, step: int) -> float:
        return min(1.0, step / self.steps)


class Jump(Schedule):
    """Less than 1 at first, and 1 ever after.

    Args:
        steps: how many steps come before the jump.
        before: the factor until then.

    Raises:
        ValueError: `steps` below 1, or `before` not in [0, 1].
    """

    def __init__(self, steps: int, before: float) -> None:
        at_least("steps", steps, 1)
        fraction("before", before)
        self.steps = steps
        self.before = before

    def at(self, step: int) -> float:
        return self.before if step < self.steps else 1.0


class Cyclical(Schedule):
    """Rises from 0 to 1 in a straight line, stays there, and begins anew, over and over.

    Args:
        period: steps of a cycle.
        rising: fraction of a cycle that the rise takes.

    Raises:
        ValueError: `period` below 1, or `rising` not in [0, 1].

    References:
        Fu et al., "Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing",
        2019.
    """

    def __init__(self, period: int, rising: float) -> None:
        at_least("period", period, 1)
        fraction("rising", rising)
        self.period = period
        self.rising = rising

    def at(self, step: int) -> float:
        position = step % self.period / self.period
        return 1.0 if position >= self.rising else position / self.rising
