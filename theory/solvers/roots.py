"""Roots of monotone functions, and crossings of others, over many rows at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

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


class Crossings(NamedTuple):
    """Where a positive function of x meets a level.

    x:     (*runs, c) crossings seen, the largest first, NaN where a run has fewer than others.
    above: (*runs) on which side the function is at the smallest x looked at.
    """

    x: Float[Any, "*runs c"]
    above: Bool[Any, "*runs"]


def crossings(
    evaluate: Evaluate,
    level: float | Float[np.ndarray, "*#runs"],
    grid: Float[Any, " points *runs"],
    together: int = 1,
) -> Crossings:
    """Find the x on the span of an ascending `grid` at which f(x) = level, for f > 0 of any shape.

    `evaluate(x)` returns f and its slope (NaN where unknown), also of so many points of the grid
    `together`, on a first axis. Sign changes between neighbouring grid points are refined; two
    crossings between the same two points are missed.

    >>> wave = lambda x: (2 + np.sin(x), np.cos(x))
    >>> crossings(wave, 2.0, np.linspace(1.0, 7.0, 20)).x.round(6)
    array([6.283185, 3.141593])
    """
    if together == 1:
        above = np.stack([evaluate(x)[0] > level for x in grid])
    else:
        parts = [grid[start : start + together] for start in range(0, len(grid), together)]
        above = np.concatenate([evaluate(part)[0] > level for part in parts])
    found: list[Array] = []
    left = above[1:] != above[:-1]
    while left.any() or not found:
        at = last_crossing(left)
        low, high, falling = (
            np.take_along_axis(a, i[None], 0)[0]
            for a, i in ((grid, at), (grid, at + 1), (above, at))
        )
        exists = left.any(0)
        ends = np.where(exists, low, 0.0), np.where(exists, high, 0.0)
        found.append(np.where(exists, _refine(evaluate, level, *ends, falling), np.nan))
        np.put_along_axis(left, at[None], False, 0)
    return Crossings(np.stack(found, axis=-1), above[0])


def last_crossing(crossed: Bool[Any, " intervals *runs"]) -> Int[Any, "*runs"]:
    """Choose among crossings of a level, in intervals ascending in x, that of the largest x.

    The one rule by which every world goes where several beta have the same KL: see `TargetKL`.
    """
    return len(crossed) - 1 - crossed[::-1].argmax(0)


def _refine(
    evaluate: Evaluate,
    level: float | Float[np.ndarray, "*#rows"],
    low: Float[Any, "*rows"],
    high: Float[Any, "*rows"],
    falling: Bool[Any, "*rows"],
) -> Float[Any, "*rows"]:
    """The root inside each bracket, where f is `falling` or else rising, on a log scale."""
    sign = np.where(falling, 1.0, -1.0)

    def log_excess(x: Array) -> tuple[Array, Array]:
        value, slope = evaluate(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            reached = np.maximum(value, 0.0)
            return sign * np.log(reached / level), sign * slope / reached

    return decreasing_root(log_excess, (low + high) / 2, low=low, high=high)


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
