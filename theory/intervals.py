"""Exact confidence intervals for events and means that were counted by simulation."""

from typing import Any, NamedTuple

import numpy as np
from scipy import special

from theory import checks
from theory.errors import InputError


class Interval(NamedTuple):
    """Two-sided confidence limits, of the shape of the counts they came from."""

    low: Any
    high: Any

    def __contains__(self, value: object) -> bool:
        """Whether `value` lies between the limits, all of them where they are arrays."""
        return bool(np.all((self.low <= np.asarray(value)) & (np.asarray(value) <= self.high)))


class PairedDifference(NamedTuple):
    """Two events on common draws: which of them happened alone more often, and how surely.

    `difference` estimates P(first) - P(second). `share` bounds the probability that a discordant
    draw is one of the first event; the events differ where it excludes 1/2.
    """

    difference: float
    p_value: float
    share: Interval


def clopper_pearson(successes: Any, draws: Any, alpha: float) -> Interval:
    """Limits of p, given successes ~ Binomial(draws, p), that miss p with probability <= alpha.

    Integers or arrays of them, broadcast against each other. Raises `InputError` unless successes
    are whole, 0 <= successes <= draws, draws >= 1 and 0 < alpha < 1. [clopper1934]

    >>> low, high = clopper_pearson(0, 10, 0.05)
    >>> float(low), float(high.round(4))
    (0.0, 0.3085)
    """
    k, n = np.broadcast_arrays(np.asarray(successes), np.asarray(draws))
    checks.positive("draws", n)
    _check_level(alpha)
    if not ((k >= 0) & (k <= n) & (k % 1 == 0)).all():
        raise InputError("successes", "counts between 0 and `draws`", f"{k} of {n}")
    low = special.betaincinv(np.maximum(k, 1), n - k + 1, alpha / 2)
    high = special.betainccinv(k + 1, np.maximum(n - k, 1), alpha / 2)
    return Interval(np.where(k > 0, low, 0.0), np.where(k < n, high, 1.0))


def mean_interval(mean: float, std: float, draws: int, alpha: float) -> Interval:
    """mean +- z std / sqrt(draws), z the normal quantile at 1 - alpha/2.

    `std` is the exact standard deviation of one draw; with an estimated one the level holds only
    for many draws. Raises `InputError` for std < 0, draws < 1 or alpha outside (0, 1).

    >>> [round(limit, 3) for limit in mean_interval(0.0, 1.0, 100, 0.05)]
    [-0.196, 0.196]
    """
    checks.positive("draws", draws)
    checks.positive("std", std, zero_allowed=True)
    _check_level(alpha)
    half_width = -float(special.ndtri(alpha / 2)) * std / draws**0.5
    return Interval(mean - half_width, mean + half_width)


def paired_difference(
    only_first: int, only_second: int, draws: int, alpha: float
) -> PairedDifference:
    """Compare P(first) and P(second) from the draws on which exactly one of them happened.

    Under equal probabilities only_first ~ Binomial(only_first + only_second, 1/2): the exact form
    of McNemar's test. It sees differences far below the width of two separate intervals, because
    draws on which the events agree carry no noise. Raises `InputError` unless the two counts are
    >= 0 and sum to at most `draws`, draws >= 1 and 0 < alpha < 1.

    >>> round(paired_difference(2, 10, 1000, 0.05).p_value, 4)
    0.0386
    """
    checks.positive("draws", draws)
    discordant = only_first + only_second
    if min(only_first, only_second) < 0 or discordant > draws:
        raise InputError("only_first", "a count, with `only_second` at most `draws`", only_first)
    _check_level(alpha)
    tail = float(special.bdtr(min(only_first, only_second), discordant, 0.5))
    share = clopper_pearson(only_first, discordant, alpha) if discordant else Interval(0.0, 1.0)
    return PairedDifference((only_first - only_second) / draws, min(1.0, 2 * tail), share)


def _check_level(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise InputError("alpha", "in (0, 1)", alpha)
