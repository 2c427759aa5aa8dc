"""How sure the penalised optimum is not to promise more than the best: [banerjee2024, Thm 2.2].

Event: sup over d in D of (R'd - b |d|_S) is at most sup over d in D of r'd, for R ~ N(r, S),
|d|_S = sqrt(d'S d), displacements D = {pi - pi0} and b >= 0. Let m = `dimension` be that of the
span of D: n - 1 for one simplex of n responses, prompts * (n - 1) for several.

The published probability exp(-n/b^2) of failure is inverted, and the tail lemma under it is false;
P(event) >= F_m(b^2) is the sharp statement, F_m the cdf of chi-square with m degrees of freedom.
Probabilities take and return numbers or arrays of b.
"""

import math
from typing import Any, TypeVar

import numpy as np
from scipy.integrate import quad
from scipy.special import gammainc, gammaincc, gammainccinv, ndtr, ndtri
from scipy.stats import ncx2

from theory import checks
from theory.errors import InputError

Number = TypeVar("Number", float, np.ndarray)

LONGEST = 1e5
"""Largest noncentrality, as a length, for which SciPy's chi-square law returns numbers."""


def theorem_22_as_printed(n: int, b: Number) -> Number:
    """1 - exp(-n/b^2), the published bound. FALSE: it would improve as b -> 0.

    The truth for n = 2, b = 0.1 and r = 0 is .00499. [banerjee2024, Thm 2.2]

    >>> float(theorem_22_as_printed(2, 0.1))
    1.0
    """
    checks.positive("n", n)
    checks.positive("b", b, zero_allowed=True)
    with np.errstate(divide="ignore"):
        return -np.expm1(-n / np.square(b, dtype=float))


def theorem_22_inverted(n: int, b: Number) -> Number:
    """1 - exp(-b^2/n), the bound that the proof of the theorem aims at. Still FALSE for n != 2.

    Its tail lemma, P(chi2_n > n t) <= exp(-t), is an equality for n = 2, and fails for large t at
    n = 1 and for t below a number near 1 at n >= 3. [banerjee2024, Thm 2.2]

    >>> round(float(theorem_22_inverted(1, 2.0)), 5)
    0.98168
    """
    checks.positive("n", n)
    checks.positive("b", b, zero_allowed=True)
    return -np.expm1(-np.square(b, dtype=float) / n)


def sharp_bound(dimension: int, b: Number) -> Number:
    """P(event) >= F_m(b^2) for every r, S and D. Corrected statement of [banerjee2024, Thm 2.2].

    The event is implied by |P Z| <= b, with Z ~ N(0, I) and P the projection on S^(1/2) span(D).
    Equality where r'd is constant on D and the cone of D is its span, e.g. for constant r and pi0
    inside the simplex. Weights of the prompts do not matter. Dimension 0 gives 1.

    >>> round(float(sharp_bound(9, 3.0)), 5)
    0.56273
    """
    checks.positive("dimension", dimension, zero_allowed=True)
    checks.positive("b", b, zero_allowed=True)
    return _chi_square_cdf(dimension, np.square(b, dtype=float))


def radius(dimension: int, delta: float) -> float:
    """The b for which `sharp_bound` is 1 - delta: sqrt of the chi-square quantile.

    >>> [round(radius(m, 0.05), 3) for m in (1, 9, 999)]
    [1.96, 4.113, 32.766]
    """
    checks.positive("dimension", dimension, zero_allowed=True)
    _check_level(delta)
    if dimension == 0:
        return 0.0
    return math.sqrt(2 * float(gammainccinv(dimension / 2, delta)))


def box_radius(n: int, delta: float) -> float:
    """The b for which |R_i - r_i| <= b sqrt(S_ii) for all n cells with probability 1 - delta.

    Exact for a diagonal S; for any other the probability is at least that (Sidak). The box is the
    per-cell confidence bound, far shorter than `radius` in each single direction.

    >>> round(box_radius(1000, 0.05), 2)
    4.05
    """
    checks.positive("n", n)
    _check_level(delta)
    miss = -math.expm1(math.log1p(-delta) / n)
    return -float(ndtri(miss / 2))


def ball_probability(n: int, b: Number, length: float) -> Number:
    """P(event) for D a ball {|d|_S <= rho}: P(|R|_* <= b + l), |v|_* = sqrt(v'S^-1 v), l = |r|_*.

    A noncentral chi-square probability that grows with l from F_n(b^2) to Phi(b). Under equalities
    n is the dimension of D and l = sqrt(r'M r). Raises `InputError` for b < 0 or l outside of
    [0, 1e5], beyond which SciPy has no values.

    >>> [round(float(ball_probability(5, 2.0, length)), 5) for length in (0.0, 1.0)]
    [0.45058, 0.81484]
    """
    checks.positive("n", n)
    checks.positive("b", b, zero_allowed=True)
    checks.positive("length", length, zero_allowed=True)
    if length > LONGEST:
        raise InputError("length", f"<= {LONGEST:g}", length, "use the limit Phi(b)")
    return ncx2.cdf(np.square(b + length), n, length**2)


def ball_harm_probability(n: int, b: float, length: float) -> float:
    """P(true return of the chosen policy < that of the reference) for D a ball in |.|_S.

    The maximiser of R'd - b|d|_S is d = 0 unless |R|_* > b, and a multiple of S^-1 R then, so with
    z = r'S^-1 R / l it is the integral over z < 0 of phi(z - l) P(chi2_{n-1} > b^2 - z^2).
    0 for l = 0, where all policies return the same.

    >>> round(ball_harm_probability(5, 2.0, 0.3), 5)
    0.19942
    """
    checks.positive("n", n)
    checks.positive("b", b, zero_allowed=True)
    checks.positive("length", length, zero_allowed=True)
    if length == 0:
        return 0.0

    def density(z: float) -> float:
        chosen = _chi_square_tail(n - 1, b**2 - z**2)
        return math.exp(-((z - length) ** 2) / 2) / math.sqrt(2 * math.pi) * chosen

    near, _ = quad(density, -b, 0.0, epsabs=0.0, limit=200)
    return float(near + ndtr(-b - length))


def chosen_policy_harm_bound(dimension: int, b: Number) -> Number:
    """P(true return of the chosen policy < that of the reference) <= 1 - F_m(b^2).

    For any D that contains 0 (the reference) and the maximiser d of R'd - b|d|_S: on the event of
    `sharp_bound`, r'd >= R'd - b|d|_S >= 0.

    >>> round(float(chosen_policy_harm_bound(10, 4.2787)), 4)
    0.05
    """
    checks.positive("dimension", dimension, zero_allowed=True)
    checks.positive("b", b, zero_allowed=True)
    return _chi_square_tail(dimension, np.square(b, dtype=float))


def harm_bound(improvement: float, norm: float, dimension: int) -> float:
    """Confidence that a displacement d does harm, from its estimated gain R'd and its |d|_S.

    1 - F_m((R'd/|d|_S)^2): a p-value of "r'd < 0" that stays valid however d was chosen from R
    within a space of m dimensions. 1 for R'd <= 0. Where |d|_S = 0 the gain is known exactly: 1 if
    R'd < 0, else 0, e.g. for d = 0.

    >>> round(harm_bound(2.0, 1.0, 1), 4)
    0.0455
    """
    checks.finite("improvement", improvement)
    checks.positive("norm", norm, zero_allowed=True)
    if norm == 0:
        return float(improvement < 0)
    return float(chosen_policy_harm_bound(dimension, max(0.0, improvement / norm)))


def _chi_square_cdf(dimension: int, value: Any) -> Any:
    """F_m, with F_0 the unit step at 0."""
    return np.heaviside(value, 1.0) if dimension == 0 else gammainc(dimension / 2, value / 2)


def _chi_square_tail(dimension: int, value: Any) -> Any:
    """1 - F_m, accurate where it is small."""
    return np.heaviside(-value, 0.0) if dimension == 0 else gammaincc(dimension / 2, value / 2)


def _check_level(delta: float) -> None:
    if not 0 < delta < 1:
        raise InputError("delta", "in (0, 1)", delta)
