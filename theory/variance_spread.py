"""What the spread of the variances decides: step lengths, signal to noise, and plug-in variances.

All statements are for many cells with independent errors, R_i ~ N(r_i, S_i).
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from theory import checks
from theory.errors import InputError
from theory.return_law import delta_method


class MatchedStep(NamedTuple):
    """Variance-aware over variance-unaware rule at steps of equal length |d|."""

    mean_ratio: float
    sd_ratio: float


def heterogeneity(variances: Float[np.ndarray, " n"]) -> float:
    """H = mean(S) mean(1/S) >= 1, with equality iff all variances are equal.

    sqrt(H) is the gain z2/z1 in signal to noise when r is independent of S.

    >>> round(heterogeneity(np.linspace(70.0, 100.0, 1000)), 4)
    1.0106
    """
    checks.positive("variances", variances)
    return float(variances.mean() * (1 / variances).mean())


def step_ratio(variances: Float[np.ndarray, " n"]) -> float:
    """|d2| / |d1| ~ sqrt(min(S) mean(1/S)) <= 1 under eps~ = lambda_min(S) eps, for r'S^-1 r << n.

    The factor by which that calibration shortens the variance-aware step: most of the smaller
    return variance in [banerjee2024, Fig. 3] is this shorter step.

    >>> [round(step_ratio(np.linspace(low, 100.0, 10**5)), 3) for low in (3.0, 70.0)]
    [0.329, 0.912]
    """
    checks.positive("variances", variances)
    return math.sqrt(float(variances.min() * (1 / variances).mean()))


def matched_step(
    reward: Float[np.ndarray, " n"], variances: Float[np.ndarray, " n"]
) -> MatchedStep:
    """Ratios of mean and sd of d2'r and d1'r for d2 ~ S^-1 R and d1 ~ R of equal length.

    Large-n limit. For rewards that are small against the noise the variance-aware rule earns more
    at matched length, and its return varies as much. Raises `InputError` for variances <= 0,
    rewards that are not finite, or r = 0, where both returns are 0.
    """
    checks.finite("reward", reward)
    checks.positive("variances", variances)
    if not reward.any():
        raise InputError("reward", "different from 0 somewhere", "zeros only")
    ones, inverse = np.ones_like(variances), 1 / variances
    unaware = delta_method(1.0, ones, ones, reward, variances)
    aware = delta_method(1.0, inverse, inverse**2, reward, variances)
    return MatchedStep(aware.mean / unaware.mean, aware.sd / unaware.sd)


def plug_in_harm(
    reward: Float[np.ndarray, " n"], variances: Float[np.ndarray, " n"], members: int
) -> float:
    """P(d'r <= 0) for d ~ S_hat^-1 R with S_hat = S chi2_nu / nu estimated from k = nu + 1 members.

    Phi(-sqrt(r'S^-1 r (nu - 4)/(nu - 2))) for many cells; nu = inf is the known S. Raises
    `InputError` for k <= 5, where S_hat^-1 has no variance: as cells are added to the problem the
    plug-in rule then loses to the variance-unaware one for any S.

    >>> S = np.linspace(70.0, 100.0, 1000)
    >>> round(plug_in_harm(np.full(1000, 0.3), S, 10), 3)
    0.191
    """
    checks.finite("reward", reward)
    checks.positive("variances", variances)
    nu = members - 1
    if nu <= 4:
        raise InputError(
            "members", ">= 6", members, "shrink the variances, or use the variance-unaware rule"
        )
    signal = float((reward**2 / variances).sum())
    return float(ndtr(-math.sqrt(signal * (nu - 4) / (nu - 2))))


def plug_in_wins(variances: Float[np.ndarray, " n"], members: int) -> bool:
    """Whether variances estimated from k members beat ignoring them: H > (nu - 2)/(nu - 4).

    nu = k - 1; for many cells and r independent of S. False for k <= 5 whatever S is.

    >>> [plug_in_wins(np.linspace(3.0, 100.0, 1000), k) for k in (5, 10)]
    [False, True]
    >>> plug_in_wins(np.linspace(70.0, 100.0, 1000), 10)
    False
    """
    if members < 2:
        raise InputError("members", ">= 2", members)
    nu = members - 1
    return nu > 4 and heterogeneity(variances) > (nu - 2) / (nu - 4)
