"""How often a linear rule does not beat the reference policy, exactly.

Setting: true reward r (n,), estimate R ~ N(r, S), displacement d = step * A R with step > 0. The
step length is irrelevant: pi does not beat pi0 when r'A R <= 0. S is (n, n), or its diagonal
(n,). Equalities are rows of a matrix E with E d = 0; "sum" is sum(d) = 0 and None leaves d free.

pi = pi0 + d must stay inside the simplex for the laws to hold: for sum(d) = 0 and
d'd <= eps <= min(pi0)^2 n/(n-1) it does. Where pi >= 0 binds, even their order may reverse.
"""

import math

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from theory import checks
from theory.errors import InputError
from theory.solvers.ellipsoid import ROUNDING, Equalities, steepest


def harm_probability(
    rule: Float[np.ndarray, "..."],
    reward: Float[np.ndarray, " n"],
    covariance: Float[np.ndarray, "..."],
) -> float:
    """P(r'A R <= 0) = Phi(-r'A r / sqrt(r'A S A'r)) of any linear rule A, (n, n) or diagonal.

    Never below `harm_probability_aware` without equalities (Cauchy-Schwarz), so A = S^-1 is the
    best linear rule whatever r is. 1 where A'r = 0. S may be singular. Raises `InputError` for a
    covariance with a negative eigenvalue or values that are not finite.

    >>> round(harm_probability(np.ones(2), np.array([1.0, 1.0]), np.array([1.0, 100.0])), 3)
    0.421
    """
    checks.finite("rule", rule)
    checks.finite("reward", reward)
    checks.broadcastable("reward", reward, "rule", rule)
    checks.broadcastable("reward", reward, "covariance", covariance)
    _check_semidefinite(covariance)
    if rule.ndim == 1:
        return _below_zero(rule * reward, reward, covariance)
    weights = rule.T @ reward
    rounding = ROUNDING * (np.abs(rule.T) @ np.abs(reward))
    return _below_zero(np.where(np.abs(weights) <= rounding, 0.0, weights), reward, covariance)


def harm_probability_unaware(
    reward: Float[np.ndarray, " n"],
    covariance: Float[np.ndarray, "..."],
    *,
    equalities: Equalities = "sum",
) -> float:
    """P1 = P(pi1'r <= pi0'r) = Phi(-r'C r / sqrt(r'C S C r)), pi1 = argmax R'd s.t. |d|^2 <= eps.

    C projects on the displacements that the equalities allow. 1 where C r = 0: no displacement
    changes the return. S may be singular. Corrected statement of [banerjee2024, Thm 3.3], whose
    policies need not sum to 1 (`equalities=None`). Raises as `harm_probability`.

    >>> S = np.array([1.0, 100.0])
    >>> round(harm_probability_unaware(np.array([1.0, 1.0]), S, equalities=None), 3)
    0.421
    """
    checks.finite("reward", reward)
    checks.broadcastable("reward", reward, "covariance", covariance)
    _check_semidefinite(covariance)
    direction, _ = steepest(reward, np.ones_like(reward), equalities=equalities)
    return _below_zero(direction, reward, covariance)


def harm_probability_aware(
    reward: Float[np.ndarray, " n"],
    covariance: Float[np.ndarray, "..."],
    *,
    equalities: Equalities = "sum",
    allow_singular: bool = False,
) -> float:
    """P2 = P(pi2'r <= pi0'r) = Phi(-sqrt(r'M r)), pi2 = argmax R'd s.t. d'S d <= eps~.

    M = B (B'S B)^-1 B', B a basis of the displacements that the equalities allow. P2 <= P1 for
    every positive definite S, with equality iff C S C r is parallel to C r. 1 where M r = 0.
    [banerjee2024, Thm 3.3]

    Raises `InputError` for a singular S. With `allow_singular` the answer there is 1: the budget
    eps~ = lambda_min(S) eps is 0 and pi2 stays at pi0.

    >>> S = np.array([1.0, 100.0])
    >>> round(harm_probability_aware(np.array([1.0, 1.0]), S, equalities=None), 3)
    0.157
    """
    if allow_singular and _smallest_eigenvalue(covariance) <= 0:
        checks.finite("reward", reward)
        _check_semidefinite(covariance)
        return 1.0
    _, squared = steepest(reward, covariance, equalities=equalities)
    return float(ndtr(-math.sqrt(squared))) if squared > 0 else 1.0


def kantorovich_bound(condition_number: float) -> float:
    """Least possible z1/z2 = 2 sqrt(kappa) / (1 + kappa), where P_i = Phi(-z_i).

    The most that knowing S can gain when its eigenvalues span a factor kappa, with or without
    equalities. Attained by r with equal parts in the two extreme eigenvectors. Raises `InputError`
    unless 1 <= kappa < inf.

    >>> round(kantorovich_bound(100 / 3), 3)
    0.336
    """
    if not 1 <= condition_number < math.inf:
        raise InputError("condition_number", ">= 1 and finite", condition_number)
    return 2 * math.sqrt(condition_number) / (1 + condition_number)


def _below_zero(weights: np.ndarray, reward: np.ndarray, covariance: np.ndarray) -> float:
    """P(weights'R <= 0)."""
    mean = float(weights @ reward)
    spread = covariance * weights if covariance.ndim == 1 else covariance @ weights
    variance = float(weights @ spread)
    if variance <= 0:
        return float(mean <= 0)
    return float(ndtr(-mean / math.sqrt(variance))) if weights.any() else 1.0


def _smallest_eigenvalue(covariance: np.ndarray) -> float:
    """Smallest eigenvalue, 0 where it is rounding of zero."""
    values = covariance if covariance.ndim == 1 else np.linalg.eigvalsh(covariance)
    smallest, scale = float(values.min()), float(np.abs(values).max())
    return 0.0 if abs(smallest) <= 1e-12 * scale else smallest


def _check_semidefinite(covariance: np.ndarray) -> None:
    """Of a matrix, or of its diagonal."""
    if covariance.ndim > 1:
        checks.covariance("covariance", covariance, semidefinite=True)
    else:
        checks.finite("covariance", covariance)
        checks.positive("covariance", covariance, zero_allowed=True)
