"""Modified Bessel functions of the first kind, for any order, with derivatives."""

import functools
import math
from typing import Any

import torch
from numpy.polynomial import Polynomial
from torch import Tensor
from torch.autograd.function import once_differentiable

# From this order on, this number of terms of the expansion has a relative error below 1e-8 for any
# argument. Lower orders follow from it by the recurrence.
_HIGH_ORDER = 16
_TERMS = 5


def bessel(order: float, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""The logarithm of a Bessel function, scaled against under- and overflow, and a ratio.

    .. math:: h_v(x) = \log \frac{\Gamma(v + 1)\, I_v(x)}{(x / 2)^v} - x, \quad
              r_v(x) = \frac{I_{v+1}(x)}{I_v(x)}, \quad h_v'(x) = r_v(x) - 1

    At x = 0 both are 0. High orders are computed by the uniform asymptotic expansion, lower orders
    from these by the recurrence of the ratio, which is free of cancellation:

    .. math:: r_{v-1} = \frac{x}{2 v + x r_v}, \quad
              h_{v-1} = h_v + \log \Big( 1 + \frac{x r_v}{2 v} \Big)

    Both are differentiable once. `torch.special.i0e` and `i1e` are limited to two orders.

    Args:
        order: v, at least 0.
        x: at least 0.

    Shape:
        x (...); returns h and r, both (...).

    References:
        Olver, "Asymptotics and Special Functions", 1974 (the expansion).
        Amos, "Computation of Modified Bessel Functions and Their Ratios", 1974.
    """
    return _Bessel.apply(order, x)


class _Bessel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, order: float, x: Tensor) -> tuple[Tensor, Tensor]:
        steps = max(0, math.ceil(_HIGH_ORDER - order))
        high = order + steps
        log_scaled, ratio, slope = _expansion(high, x)
        for step in range(steps):
            twice = 2 * (high - step)
            below = twice + x * ratio
            log_scaled = log_scaled + torch.log(below / twice)
            # The derivative of the quotient above. The usual formula for the derivative, in terms
            # of the ratio, is a small difference of large numbers.
            slope = (twice - x.square() * slope) / below.square()
            ratio = x / below
        ctx.save_for_backward(ratio, slope)
        return log_scaled, ratio

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_log: Tensor, for_ratio: Tensor) -> tuple[None, Tensor]:
        ratio, slope = ctx.saved_tensors
        return None, for_log * (ratio - 1) + for_ratio * slope


def _expansion(order: float, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The scaled logarithm, the ratio and the derivative of the ratio, for a high order."""
    z = x / order
    t = torch.hypot(z, torch.ones_like(z))
    p = 1 / t
    correction, factor, factor_slope = (_horner(row, p) for row in _polynomials(order))
    grown = torch.log1p((t - 1) / 2) + 1 - 1 / (t + z)
    log_scaled = correction - order * grown - 0.5 * torch.log(t)
    ratio = z / (1 + t) + z * factor
    slope = (p * p / (1 + p) + factor - p * (1 - p * p) * factor_slope) / order
    return log_scaled, ratio, slope


@functools.cache
def _polynomials(order: float) -> tuple[tuple[float, ...], ...]:
    r"""Coefficients in p of the correction S, of the factor of the ratio, and of its derivative.

    .. math:: I_v(v z) = \frac{e^{v \eta + S}}{\sqrt{2 \pi v t}}, \quad t = \sqrt{1 + z^2} = 1 / p

    S' follows term by term, in powers of 1 / v, from Bessel's equation.
    """
    p = Polynomial([0, 1])
    weight = (p**2 - p**4) / 2
    terms = [Polynomial([1, 0, -5]) / 8]
    while len(terms) < _TERMS:
        products = [a * b for a, b in zip(terms[:-1], terms[-2::-1], strict=True)]
        inner = sum(products, terms[-1].deriv())
        terms.append((p - 2 * p**3) * terms[-1] + weight * inner)
    slope = sum((term / order**k for k, term in enumerate(terms, 1)), Polynomial([0]))
    # 0 at p = 1, as is the scaled logarithm.
    correction = slope.integ(lbnd=1)
    factor = -(p**2 / 2 + p**3 * slope) / order
    return tuple(tuple(row.coef.tolist()) for row in (correction, factor, factor.deriv()))


def _horner(coefficients: tuple[float, ...], p: Tensor) -> Tensor:
    value = torch.full_like(p, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * p + coefficient
    return value
