"""One root finder for monotone functions, over many rows at once."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from theory.arrays import Array

TOLERANCE = 1e-12
ITERATIONS = 200
LOG_RANGE = 690.0
"""Roots are searched in [-690, 690], the logarithms of the normal float64 range."""

Evaluate = Callable[[Array], tuple[Array, Array]]


def decreasing_root(
    evaluate: Evaluate,
    start: Float[Any, "*rows"],
    *,
    low: Float[Any, "*rows"] | None = None,
    high: Float[Any, "*rows"] | None = None,
) -> Float[Any, "*rows"]:
    """Solve f(x) = 0 for one nonincreasing f a row.

    `evaluate(x)` returns f and its slope. Newton steps are kept inside the bracket found so far;
    a step that leaves it, is undefined, or did not halve |f| is replaced by a bisection, or by an
    expansion of doubling length while one side is still unbounded. A row stops at
    |f| <= 1e-12, or where its bracket has no float64 left inside.

    >>> root = decreasing_root(lambda x: (2 - np.exp(x), -np.exp(x)), np.zeros(1))
    >>> np.exp(root).round(12)
    array([2.])
    """
    low = np.full_like(start, -np.inf) if low is None else low
    high = np.full_like(start, np.inf) if high is None else high
    x, previous = start, np.full_like(start, np.inf)
    for iteration in range(ITERATIONS):
        value, slope = evaluate(x)
        low, high = np.where(value > 0, x, low), np.where(value < 0, x, high)
        done = (np.abs(value) <= TOLERANCE) | (high - low <= 2 * np.spacing(np.abs(x)))
        if done.all():
            break
        slow = np.abs(value) > np.abs(previous) / 2
        proposal = _proposal(x, value, slope, low, high, slow, reach=2.0**iteration)
        x, previous = np.where(done, x, proposal), value
    return x


def _proposal(
    x: Array,
    value: Array,
    slope: Array,
    low: Array,
    high: Array,
    slow: Array,
    reach: float,
) -> Array:
    """The next point of each row: Newton where safe, else bisection or expansion."""
    bounded = np.isfinite(low) & np.isfinite(high)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        newton = x - value / slope
        safe = (newton > low) & (newton < high) & (np.abs(newton - x) <= reach)
        fallback = np.where(bounded, (low + high) / 2, x + np.sign(value) * reach)
    return np.clip(np.where(safe & ~(slow & bounded), newton, fallback), -LOG_RANGE, LOG_RANGE)
