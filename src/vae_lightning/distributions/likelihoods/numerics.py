"""Numerical functions of several likelihoods: grey values, bounded scales, bisection."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.utils.checks import positive

GREY_VALUES = 256

_BRIGHTEST = GREY_VALUES - 1


def grey_value(pixels: Tensor) -> Tensor:
    """Round pixels in [0, 1] to the nearest grey value 0, 1, ... 255; the dtype is kept."""
    return (pixels * _BRIGHTEST).round().clamp(0, _BRIGHTEST)


def pixel(grey: Tensor) -> Tensor:
    """Convert grey values from 0 to 255 to pixels in [0, 1]."""
    return grey / _BRIGHTEST


def soft_lower_bound(log_scale: Tensor, minimum: float) -> Tensor:
    r"""A smooth lower bound m with a gradient everywhere: m + \log(1 + e^{l - m})."""
    return minimum + F.softplus(log_scale - minimum)


def unbounded_log_scale(scale: float, minimum: float) -> float:
    """The inverse of `soft_lower_bound` at the logarithm of a scale.

    Raises:
        ValueError: the scale is not a finite number above its lower limit.
    """
    positive("initial_scale", scale)
    excess = math.log(scale) - minimum
    if not excess > 0:
        raise ValueError(
            f"initial_scale={scale} is out of range: its logarithm must be above "
            f"min_log_scale={minimum}"
        )
    return minimum + excess + math.log1p(-math.exp(-excess))


def bisect(
    function: Callable[[Tensor], Tensor], target: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Solve f(x) = target by bisection, elementwise.

    Args:
        function: f, elementwise and increasing.
        target: values of f.
        low: a lower bound of x.
        high: an upper bound of x.
    """
    for _ in range(80):  # until the interval is below the precision of float64
        middle = (low + high) / 2
        below = function(middle) < target
        low = torch.where(below, middle, low)
        high = torch.where(below, high, middle)
    return (low + high) / 2
