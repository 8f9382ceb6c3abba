"""Arithmetic that several likelihoods need."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.utils.checks import positive

GREY_VALUES = 256

_BRIGHTEST = GREY_VALUES - 1


def grey_value(pixels: Tensor) -> Tensor:
    """The nearest of the values 0, 1, ... 255, for pixels in [0, 1]; of the type of the pixels."""
    return (pixels * _BRIGHTEST).round().clamp(0, _BRIGHTEST)


def pixel(grey: Tensor) -> Tensor:
    """The pixels in [0, 1] of values from 0 to 255, as the data serves them."""
    return grey / _BRIGHTEST


def at_least_float32(numbers: Tensor) -> Tensor:
    """In single precision where they were in half: it cannot tell 256 grey values apart."""
    half = numbers.dtype in (torch.float16, torch.bfloat16)
    return numbers.float() if half else numbers


def soft_lower_bound(log_scale: Tensor, minimum: float) -> Tensor:
    r"""Above a minimum, smoothly, so that the gradient never vanishes: m + \log(1 + e^{l - m})."""
    return minimum + F.softplus(log_scale - minimum)


def unbounded_log_scale(scale: float, minimum: float) -> float:
    """Of what `soft_lower_bound` makes the logarithm of a scale.

    Raises:
        ValueError: the scale is not a finite number above its limit.
    """
    positive("initial_scale", scale)
    room = math.log(scale) - minimum
    if not room > 0:
        raise ValueError(
            f"initial_scale={scale} is out of range: its logarithm must be above "
            f"min_log_scale={minimum}"
        )
    return minimum + room + math.log1p(-math.exp(-room))


def bisect(
    function: Callable[[Tensor], Tensor], target: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Where a rising function has a value, for each element by itself.

    Args:
        function: from a tensor to one of the same shape, rising in each element.
        target: the values that it is to have.
        low: where each is below its target.
        high: where each is above.
    """
    for _ in range(80):  # the interval is then below the last digit of a float64
        middle = (low + high) / 2
        below = function(middle) < target
        low = torch.where(below, middle, low)
        high = torch.where(below, high, middle)
    return (low + high) / 2
