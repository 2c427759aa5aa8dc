"""Order statistics of k Gaussian scores: what min, max, mean and LCB do to an ensemble's noise.

All moments are for standard normal scores; for scores N(mu, sigma^2) multiply by sigma and add mu.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from theory import checks
from theory.errors import InputError

# The trapezoid rule converges geometrically for analytic, rapidly decaying integrands; the step is
# a fifteenth of the narrowest density met (k = 10^9), and no k in float64 pushes mass past 40.
_STEP = 0.01
_GRID = np.arange(-12.0, 40.0, _STEP)


class Moments(NamedTuple):
    """Mean and standard deviation of one random number."""

    mean: float
    std: float


def gaussian_max_mean(k: int) -> float:
    """E max of k iid standard normals; the minimum has mean -E max.

    1/sqrt(pi) for k = 2, 3/(2 sqrt(pi)) for k = 3, by quadrature in general. Heteroscedastic cells
    whose k scores share a standard deviation sigma have E min = mu - c_k sigma with c_k this
    number: the minimum is a lower confidence bound [coste2023].
    Raises `InputError` unless k >= 1.

    >>> round(gaussian_max_mean(3), 4)
    0.8463
    """
    return _max_moment(k, 1)


def gaussian_max_std(k: int) -> float:
    """Standard deviation of the max (and of the min) of k iid standard normals.

    Below 1 but above the 1/sqrt(k) of the mean for k >= 2: the minimum is a noisier estimate than
    the mean and exactly as noisy as the maximum (corrected statement of [rewardrobust2024]).
    Raises `InputError` unless k >= 1.

    >>> round(gaussian_max_std(2), 4)
    0.8256
    """
    return math.sqrt(_max_moment(k, 2) - _max_moment(k, 1) ** 2)


def c4(k: int) -> float:
    """E of the sample standard deviation (ddof 1) of k iid standard normals.

    sqrt(2/(k-1)) Gamma(k/2) / Gamma((k-1)/2). Raises `InputError` unless k >= 2.

    >>> round(c4(3), 6)
    0.886227
    """
    if k < 2:
        raise InputError("k", "an integer >= 2", k, "one score has no sample deviation")
    log_ratio = special.gammaln(k / 2) - special.gammaln((k - 1) / 2)
    return float(math.sqrt(2 / (k - 1)) * np.exp(log_ratio))


def lcb_mean_std(k: int, beta: float, *, ddof: int = 1) -> Moments:
    """Moments of LCB = mean - beta * std over k iid standard normals [zhang2024].

    Gaussian mean and sample standard deviation are independent, so with b = beta
    sqrt((k-1)/(k-ddof)): mean -b c4(k), variance 1/k + b^2 (1 - c4(k)^2). `ddof` is the one the
    standard deviation is taken with (0 or 1). Raises `InputError` unless k >= 2 and ddof is 0 or 1.

    >>> round(lcb_mean_std(3, 1.0).std, 3)
    0.74
    """
    factor = c4(k)
    if ddof not in (0, 1):
        raise InputError("ddof", "0 or 1", ddof)
    slope = beta * math.sqrt((k - 1) / (k - ddof))
    return Moments(-slope * factor, math.sqrt(1 / k + slope**2 * (1 - factor**2)))


def correlated_std(independent_std: float, rho: float) -> float:
    """Standard deviation of an aggregate of scores whose errors have pairwise correlation rho.

    sqrt(rho + (1 - rho) s^2), where s is the standard deviation for independent unit-variance
    scores: a shared error of variance rho passes through unchanged. Holds for every aggregate that
    moves by c when all scores do and scales with them: mean (s^2 = 1/k), min, max, LCB. The
    variance never falls below rho, however many members. Raises `InputError` unless
    0 <= rho <= 1.

    >>> round(correlated_std(3**-0.5, 0.9) ** 2, 3)
    0.933
    """
    checks.positive("independent_std", independent_std, zero_allowed=True)
    if not 0 <= rho <= 1:
        raise InputError("rho", "between 0 and 1", rho, "a shared-error model has no negative rho")
    return math.sqrt(rho + (1 - rho) * independent_std**2)


def _max_moment(k: int, order: int) -> float:
    """E (max of k)^order, from the density k phi Phi^(k-1)."""
    checks.positive("k", k)
    log_density = math.log(k / math.sqrt(2 * math.pi)) - _GRID**2 / 2
    log_density = log_density + (k - 1) * special.log_ndtr(_GRID)
    return float(np.sum(_GRID**order * np.exp(log_density)) * _STEP)
