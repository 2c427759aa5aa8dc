"""How evidence is counted and compared."""

import math
from typing import Any

import numpy as np

from theory.intervals import Interval, clopper_pearson, mean_interval
from theory.theorems.claim import Evidence, Finding

ALPHA = 1e-6
"""Level of every interval here: one false alarm in a million."""
EXACT = 1e-9
"""Relative agreement asked of two exact computations."""


def frequency(
    quantity: str,
    happened: Any,
    *,
    printed: float | None = None,
    corrected: float | None = None,
) -> Evidence:
    """How often an event happened, with Clopper-Pearson limits."""
    values = np.asarray(happened)
    count = int(np.count_nonzero(values))
    limits = clopper_pearson(count, values.size, ALPHA)
    interval = Interval(float(limits.low), float(limits.high))
    return Evidence(quantity, count / values.size, printed, corrected, interval)


def sample_mean(
    quantity: str,
    values: Any,
    *,
    printed: float | None = None,
    corrected: float | None = None,
) -> Evidence:
    """A sample mean with normal limits from the sample standard deviation."""
    sample = np.asarray(values, dtype=float)
    interval = mean_interval(float(sample.mean()), float(sample.std(ddof=1)), sample.size, ALPHA)
    return Evidence(quantity, float(sample.mean()), printed, corrected, interval)


def sample_sd(
    quantity: str,
    values: Any,
    *,
    printed: float | None = None,
    corrected: float | None = None,
) -> Evidence:
    """A sample standard deviation, with limits from its fourth moment."""
    sample = np.asarray(values, dtype=float)
    squared = (sample - sample.mean()) ** 2
    sd = math.sqrt(squared.mean())
    error = float(squared.std(ddof=1)) / (2 * sd)
    return Evidence(quantity, sd, printed, corrected, mean_interval(sd, error, sample.size, ALPHA))


def exact(
    quantity: str,
    observed: float,
    *,
    printed: float | None = None,
    corrected: float | None = None,
) -> Evidence:
    """A number that was computed, not sampled."""
    return Evidence(quantity, float(observed), printed, corrected)


def agrees(evidence: Evidence, value: float | None, tolerance: float = EXACT) -> bool:
    """Whether a claimed value is inside the interval, or equals an exact number; None agrees."""
    if value is None:
        return True
    if evidence.interval is not None:
        return value in evidence.interval
    return bool(abs(evidence.observed - value) <= tolerance * max(1.0, abs(value)))


def all_agree(evidence: list[Evidence], which: str, tolerance: float = EXACT) -> bool:
    """`agrees` for the printed or the corrected value of every entry."""
    return all(agrees(entry, getattr(entry, which), tolerance) for entry in evidence)


def at_least(evidence: Evidence, bound: float) -> bool:
    """Whether the observed number may be >= a claimed lower bound."""
    high = evidence.observed if evidence.interval is None else evidence.interval.high
    return bool(high >= bound)


def at_most(evidence: Evidence, bound: float) -> bool:
    """Whether the observed number may be <= a claimed upper bound."""
    low = evidence.observed if evidence.interval is None else evidence.interval.low
    return bool(low <= bound)


def compared(*evidence: Evidence, tolerance: float = EXACT) -> Finding:
    """Each statement survives if every number that it gives is the observed one."""
    entries = list(evidence)
    return Finding(
        all_agree(entries, "printed", tolerance),
        all_agree(entries, "corrected", tolerance),
        evidence,
    )
