"""The law of the improvement W = (pi - pi0)'r of both rules over the draw of R ~ N(r, S).

    unaware   d1 = sqrt(eps / R'C R) C R   maximises R'd s.t. |d|^2 <= eps
    aware     d2 = sqrt(eps / R'M R) M R   maximises R'd s.t. d'S d <= eps

S is (n, n) or its diagonal (n,); equalities are those of `theory.solvers.ellipsoid`, None for the
paper's own formulas. Positivity of pi is not imposed. For the comparison of [banerjee2024,
Thm 3.3] the aware rule gets `calibrated_eps(S, eps)`.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import null_space

from theory import checks
from theory.cosine_law import cosine_cdf, cosine_moments
from theory.solvers.ellipsoid import Equalities, steepest

NODE_SPACING = 0.1
NODE_REACH = 75.0
"""Trapezoid nodes of ln s: the integrands decay at least like exp(-|ln s| / 2) on both sides."""


class ReturnMoments(NamedTuple):
    """First two moments of the improvement W."""

    mean: float
    second_moment: float

    @property
    def sd(self) -> float:
        """Standard deviation, to about 1e-12 (mean/sd)^2 relatively."""
        return math.sqrt(max(0.0, self.second_moment - self.mean**2))


@dataclass(frozen=True)
class AwareReturn:
    """W2 = sqrt(eps) l T, with T the cosine between X ~ N(mu, I_m) and mu, |mu| = l = `length`.

    m = `dimension` counts the free directions and l^2 = r'M r.
    """

    eps: float
    length: float
    dimension: int

    @property
    def scale(self) -> float:
        """Largest possible improvement, sqrt(eps) l."""
        return math.sqrt(self.eps) * self.length

    def cdf(self, improvement: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
        """P(W2 <= improvement), through that of the cosine.

        At 0 it is Phi(-l). A step at 0 where r gives no direction (l = 0, or m = 0).

        >>> AwareReturn(1.0, 1.0, 3).cdf(np.array([-1.1, 0.0, 1.0])).round(5)
        array([0.     , 0.15866, 1.     ])
        """
        if self.scale == 0:
            return np.where(improvement >= 0, 1.0, 0.0)
        return cosine_cdf(improvement / self.scale, self.dimension, self.length)

    def moments(self) -> ReturnMoments:
        """Moments of the cosine, scaled.

        >>> round(AwareReturn(1.0, 1.0, 3).moments().mean, 5)
        0.48394
        """
        if self.scale == 0:
            return ReturnMoments(0.0, 0.0)
        mean, squared = cosine_moments(self.dimension, self.length)
        return ReturnMoments(self.scale * mean, self.scale**2 * squared)

    def large_n(self) -> ReturnMoments:
        """Delta method for many directions; mean sqrt(eps) l^2/sqrt(m + l^2)."""
        m = max(self.dimension, 1)
        signal = np.full(m, self.length / math.sqrt(m))
        ones = np.ones_like(signal)
        return delta_method(self.eps, ones, ones, signal, ones)


@dataclass(frozen=True, eq=False)
class UnawareReturn:
    """W1 = sqrt(eps) y'Y/|Y| with Y_i ~ N(y_i, v_i) independent, i = 1..m.

    `signal` y and `variances` v are r and S in the eigenvectors of S among the free directions.
    """

    eps: float
    signal: Float[np.ndarray, " m"]
    variances: Float[np.ndarray, " m"]

    def moments(self) -> ReturnMoments:
        """Quadrature in s = e^u of the laws of y'Y under the weight exp(-s |Y|^2).

        With g_i = 1 + 2 s v_i, L = E exp(-s|Y|^2) = prod g_i^(-1/2) exp(-s sum y_i^2/g_i):
        E y'Y/|Y| = pi^(-1/2) int s^(-1/2) L a ds,   E (y'Y/|Y|)^2 = int L (a^2 + b) ds,
        a = sum y_i^2/g_i,   b = sum y_i^2 v_i/g_i.
        """
        squared = self.signal**2
        size = squared.sum() + self.variances.sum()
        if not squared.any():
            return ReturnMoments(0.0, 0.0)
        s = np.exp(np.arange(-NODE_REACH, NODE_REACH, NODE_SPACING)) / size
        g = 1 + 2 * s[:, None] * self.variances
        a, b = (squared / g).sum(-1), (squared * self.variances / g).sum(-1)
        weight = np.exp(-s * a - np.log(g).sum(-1) / 2) * NODE_SPACING
        mean = (np.sqrt(s) * weight * a).sum() / math.sqrt(math.pi)
        second = (s * weight * (a**2 + b)).sum()
        return ReturnMoments(float(math.sqrt(self.eps) * mean), float(self.eps * second))

    def large_n(self) -> ReturnMoments:
        """Delta method for many directions; mean sqrt(eps) |y|^2/sqrt(|y|^2 + sum v)."""
        ones = np.ones_like(self.signal)
        return delta_method(self.eps, ones, ones, self.signal, self.variances)


def delta_method(
    eps: float,
    linear: Float[np.ndarray, " n"],
    square: Float[np.ndarray, " n"],
    reward: Float[np.ndarray, " n"],
    variances: Float[np.ndarray, " n"],
) -> ReturnMoments:
    """W = sqrt(eps) N / sqrt(Q), N = sum linear r R and Q = sum square R^2, for many cells.

    With a = E N and q = E Q: mean a / sqrt(q), variance a^2/q (Var N/a^2 + Var Q/(4 q^2)
    - Cov(N, Q)/(a q)). Where r is small against the noise the first term alone is left.
    """
    squared = reward**2
    a, q = float(linear @ squared), float(square @ (variances + squared))
    if a == 0:
        return ReturnMoments(0.0, 0.0)
    var_n = float(linear**2 @ (squared * variances))
    var_q = float(square**2 @ (2 * variances**2 + 4 * squared * variances))
    cov = 2 * float((linear * square) @ (squared * variances))
    spread = var_n / a**2 + var_q / (4 * q**2) - cov / (a * q)
    return _from_mean_and_variance(math.sqrt(eps) * a / math.sqrt(q), eps * a**2 / q * spread)


def aware_return(
    reward: Float[np.ndarray, " n"],
    covariance: Float[np.ndarray, "..."],
    *,
    eps: float,
    equalities: Equalities = "sum",
) -> AwareReturn:
    """Law of (pi2 - pi0)'r for the budget d'S d <= eps.

    Raises `InputError` for a singular covariance, values that are not finite, or eps < 0.

    >>> aware_return(np.array([1.0, 0.0]), np.ones(2), eps=0.1, equalities=None)
    AwareReturn(eps=0.1, length=1.0, dimension=2)
    """
    _check(reward, covariance, eps)
    _, squared = steepest(reward, covariance, equalities=equalities)
    dimension = _free_directions(len(reward), equalities).shape[1]
    return AwareReturn(eps, math.sqrt(squared), dimension)


def unaware_return(
    reward: Float[np.ndarray, " n"],
    covariance: Float[np.ndarray, "..."],
    *,
    eps: float,
    equalities: Equalities = "sum",
) -> UnawareReturn:
    """Law of (pi1 - pi0)'r for the budget |d|^2 <= eps. Raises as `aware_return`."""
    _check(reward, covariance, eps)
    if covariance.ndim == 1 and equalities is None:
        return UnawareReturn(eps, reward, covariance)
    direction, _ = steepest(reward, np.ones_like(reward), equalities=equalities)
    basis = _free_directions(len(reward), equalities)
    spread = covariance[:, None] * basis if covariance.ndim == 1 else covariance @ basis
    variances, axes = np.linalg.eigh(basis.T @ spread)
    return UnawareReturn(eps, axes.T @ (basis.T @ direction), variances)


def _check(reward: np.ndarray, covariance: np.ndarray, eps: float) -> None:
    checks.finite("reward", reward)
    checks.positive_number("eps", eps, zero_allowed=True)
    if covariance.shape[-1] != len(reward):
        raise checks.InputError("covariance", f"of {len(reward)} cells", covariance.shape)
    if covariance.ndim > 1:
        checks.covariance("covariance", covariance)
    else:
        checks.finite("covariance", covariance)
        checks.positive("covariance", covariance)


def _free_directions(n: int, equalities: Equalities) -> np.ndarray:
    """Orthonormal columns that span the displacements the equalities allow."""
    if equalities is None:
        return np.eye(n)
    return null_space(np.ones((1, n)) if isinstance(equalities, str) else equalities)


def _from_mean_and_variance(mean: float, variance: float) -> ReturnMoments:
    return ReturnMoments(mean, variance + mean**2)
