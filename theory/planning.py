"""How large a study has to be, before GPU time is spent on it."""

import math
from collections.abc import Callable

from scipy.special import ndtri
from scipy.stats import chi2
from scipy.stats import f as f_law

from theory import checks
from theory.errors import InputError

LARGEST = 10**7
"""Sizes beyond this are not searched."""


def variance_ratio_power(policies: int, ratio: float, alpha: float = 0.05) -> float:
    """Power of the two-sided F test for equal variances, `policies` trained by each method.

    Under a true ratio of variances the statistic is ratio * F(n-1, n-1). Normal returns assumed.

    >>> round(variance_ratio_power(40, 4.0), 3)
    0.989
    """
    degrees = policies - 1
    low, high = (float(f_law.ppf(q, degrees, degrees)) for q in (alpha / 2, 1 - alpha / 2))
    return float(
        f_law.cdf(low / ratio, degrees, degrees) + f_law.sf(high / ratio, degrees, degrees)
    )


def policies_for_variance_ratio(ratio: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Least number of policies a method at which a ratio of variances is seen with that power.

    Raises `InputError` for a ratio that is not positive or is 1, or levels outside (0, 1).

    >>> policies_for_variance_ratio(2.0)
    68
    """
    _check_levels(alpha, power)
    checks.positive("variance_ratio", ratio)
    if ratio == 1:
        raise InputError(
            "variance_ratio", "different from 1", ratio, "no study can see equal variances"
        )
    return _least(lambda n: variance_ratio_power(n, ratio, alpha) >= power, 2)


def policies_for_harm(
    first: float, second: float, *, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Policies a method that tell two probabilities of harm apart (two-sided, independent runs).

    The usual normal approximation: (z_a sqrt(2 p q) + z_b sqrt(p1 q1 + p2 q2))^2 / (p1 - p2)^2,
    p the mean of both. Raises `InputError` for equal probabilities or ones outside [0, 1].

    >>> policies_for_harm(0.10, 0.05)
    435
    """
    _check_levels(alpha, power)
    for name, value in (("first", first), ("second", second)):
        if not 0 <= value <= 1:
            raise InputError(name, "a probability", value)
    if first == second:
        raise InputError("second", "different from `first`", second)
    mean = (first + second) / 2
    pooled = -ndtri(alpha / 2) * math.sqrt(2 * mean * (1 - mean))
    apart = ndtri(power) * math.sqrt(first * (1 - first) + second * (1 - second))
    return math.ceil(((pooled + apart) / (first - second)) ** 2)


def members_to_win(heterogeneity: float) -> int:
    """Fewest reward models whose plug-in variances beat ignoring them, H = E[S] E[1/S].

    From H > (k - 3)/(k - 5): never fewer than 6. Shrunken variances need no such number. Raises
    `InputError` for H <= 1, where no number is enough.

    >>> [members_to_win(h) for h in (1.78, 1.0106)]
    [8, 194]
    """
    checks.scale("heterogeneity", heterogeneity, power=2)
    if not heterogeneity > 1:
        raise InputError(
            "heterogeneity", "> 1", heterogeneity, "equal variances carry no information"
        )
    return math.floor((5 * heterogeneity - 3) / (heterogeneity - 1)) + 1


def members_for_variance(error: float, *, alpha: float = 0.05) -> int:
    """Members after which the interval of a variance is within a factor 1 + error, upwards.

    sigma^2 <= s^2 (k-1) / chi2_{alpha/2}: the upper limit relative to the estimate.

    >>> members_for_variance(1.0)
    24
    """
    checks.positive("error", error)
    _check_levels(alpha, 0.5)
    return _least(lambda k: (k - 1) / chi2.ppf(alpha / 2, k - 1) <= 1 + error, 2)


def _least(enough: Callable[[int], bool], start: int) -> int:
    """Smallest size at which a monotone condition holds, by doubling and halving."""
    high = start
    while not enough(high):
        if high > LARGEST:
            raise InputError("size", f"at most {LARGEST:,}", "more", "ask for a larger effect")
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check_levels(alpha: float, power: float) -> None:
    for name, value in (("alpha", alpha), ("power", power)):
        if not 0 < value < 1:
            raise InputError(name, "in (0, 1)", value)
