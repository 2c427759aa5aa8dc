"""Linear rewards and an ellipsoid of displacements d = pi - pi0, in closed form.

Positivity of pi0 + d is NOT imposed: `simplex_budget` does that. A covariance with one axis more
than the utility is a matrix (*batch, n, n); otherwise it is the diagonal (*batch, n).
Equalities are rows of a matrix A with A d = 0: "sum" means sum(d) = 0, None leaves d free. The
variance-unaware rule is the covariance of ones.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import null_space

from theory import checks

Equalities = Float[np.ndarray, "rows n"] | Literal["sum"] | None

ROUNDING = 1e-14
"""Relative size below which a gradient inside the subspace is rounding of zero."""


class Displacement(NamedTuple):
    """d, the multiplier beta of its quadratic, and the gain R'd."""

    d: Float[Any, "*batch n"]
    beta: Float[Any, "*batch"]
    gain: Float[Any, "*batch"]


def prompt_sums(prompts: int, n: int) -> Float[np.ndarray, "prompts cells"]:
    """Equalities of a flat problem of prompts * n cells: each prompt's displacement sums to 0.

    >>> prompt_sums(2, 2)
    array([[1., 1., 0., 0.],
           [0., 0., 1., 1.]])
    """
    return np.kron(np.eye(prompts), np.ones((1, n)))


def steepest(
    utility: Float[np.ndarray, "*batch n"],
    covariance: Float[np.ndarray, "..."],
    *,
    equalities: Equalities = "sum",
) -> tuple[Float[Any, "*batch n"], Float[Any, "*batch"]]:
    """M R and R'M R, with M = B (B'S B)^-1 B' and B a basis of {d : A d = 0}.

    All solutions of this module are multiples of M R; sqrt(R'M R) is the dual norm of R on the
    subspace. M R = S^-1 (R - A'y) with y the weighted regression of R on the rows of A.

    Raises `InputError` for values that are not finite or a covariance that is not positive
    definite.
    """
    checks.finite("utility", utility)
    _check_covariance(utility, covariance)
    rows = _rows(utility.shape[-1], equalities)
    if covariance.ndim > utility.ndim:
        inverse = np.linalg.inv(covariance)
        weighted_rows = rows @ inverse
    else:
        inverse = 1 / covariance
        weighted_rows = rows * inverse[..., None, :]
    gram = np.linalg.pinv(weighted_rows @ rows.T, hermitian=True)
    residual = utility
    for _ in range(2):  # the second regression removes the rounding of the first
        fit = gram @ (weighted_rows @ residual[..., None])
        residual = residual - fit[..., 0] @ rows
    direction = _product(inverse, residual, utility.ndim)
    squared = (residual * direction).sum(-1)
    total = (utility * _product(inverse, utility, utility.ndim)).sum(-1)
    zero = squared <= ROUNDING**2 * total
    return np.where(zero[..., None], 0.0, direction), np.where(zero, 0.0, squared)


def budget(
    utility: Float[np.ndarray, "*batch n"],
    covariance: Float[np.ndarray, "..."],
    eps: float,
    *,
    equalities: Equalities = "sum",
) -> Displacement:
    """max R'd s.t. d'S d <= eps, A d = 0:   d = sqrt(eps / R'M R) M R.

    d = 0 where M R = 0 (every feasible d is then optimal). beta = sqrt(R'M R / eps) / 2 satisfies
    R - A'y = 2 beta S d. Corrected statement of [banerjee2024, Thm 3.3], whose formulas leave out
    the sum to one. Raises as `steepest`, and for eps < 0.

    >>> u = np.array([3.6, 1.8, 2.8])
    >>> float((np.array([1, 2, 3]) @ (1 / 3 + budget(u, np.ones(3), 0.1).d)).round(3))
    1.802
    """
    checks.finite("eps", eps)
    checks.positive("eps", eps, zero_allowed=True)
    direction, squared = steepest(utility, covariance, equalities=equalities)
    norm = np.sqrt(squared)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where(norm > 0, np.sqrt(eps) / norm, 0.0)
        beta = np.where(norm > 0, norm / np.sqrt(eps) / 2, 0.0)
    return Displacement(step[..., None] * direction, beta, np.sqrt(eps) * norm)


def penalised(
    utility: Float[np.ndarray, "*batch n"],
    covariance: Float[np.ndarray, "..."],
    beta: float,
    *,
    equalities: Equalities = "sum",
) -> Displacement:
    """max R'd - beta d'S d s.t. A d = 0:   d = M R / (2 beta). Raises also for beta <= 0.

    >>> penalised(np.array([1.0, 0.0]), np.ones(2), 1.0).d
    array([ 0.25, -0.25])
    """
    checks.finite("beta", beta)
    checks.positive("beta", beta)
    direction, squared = steepest(utility, covariance, equalities=equalities)
    gain = squared / (2 * beta)
    return Displacement(direction / (2 * beta), np.full_like(gain, beta), gain)


def norm_value(
    utility: Float[np.ndarray, "*batch n"],
    covariance: Float[np.ndarray, "..."],
    radius: float,
    *,
    equalities: Equalities = "sum",
) -> Float[Any, "*batch"]:
    """sup of R'd - radius |d|_S over A d = 0: 0 if sqrt(R'M R) <= radius, else inf.

    So [banerjee2024, Eq. 2] has a solution of its own only on a bounded set such as the simplex.

    >>> float(norm_value(np.array([1.0, 0.0]), np.ones(2), 0.5))
    inf
    """
    _, squared = steepest(utility, covariance, equalities=equalities)
    return np.where(np.sqrt(squared) <= radius, 0.0, np.inf)


def worst_case(
    displacement: Float[np.ndarray, "*batch n"],
    utility: Float[np.ndarray, "*batch n"],
    covariance: Float[np.ndarray, "..."],
    radius: float,
) -> tuple[Float[Any, "*batch"], Float[Any, "*batch n"]]:
    """min over r of r'd s.t. |r - R|_{S^-1} <= radius, and a minimiser r.

    The value is R'd - radius |d|_S at r = R - radius S d / |d|_S (r = R for d = 0): the reading of
    [banerjee2024, Eq. 2] as a lower confidence bound.
    """
    checks.finite("displacement", displacement)
    checks.finite("utility", utility)
    checks.positive("radius", radius, zero_allowed=True)
    _check_covariance(utility, covariance)
    spread = _product(covariance, displacement, utility.ndim)
    norm = np.sqrt((displacement * spread).sum(-1))
    scale = np.divide(radius, norm, out=np.zeros_like(norm), where=norm > 0)
    return (displacement * utility).sum(-1) - radius * norm, utility - scale[..., None] * spread


def calibrated_eps(
    covariance: Float[np.ndarray, "..."],
    eps: float,
    *,
    equalities: Equalities = None,
) -> float:
    """eps~ = lambda_min eps: the largest ellipsoid {d'S d <= eps~} inside the ball {d'd <= eps}.

    `covariance` is one matrix (n, n) or diagonal (n). By default lambda_min is the smallest
    eigenvalue of S, as in [banerjee2024, Thm 3.3]; with `equalities` it is that of B'S B (B an
    orthonormal basis of the subspace), which is never smaller.

    >>> calibrated_eps(np.array([2.0, 0.5]), 0.1)
    0.05
    """
    checks.positive("eps", eps, zero_allowed=True)
    matrix = np.diag(covariance) if covariance.ndim == 1 else covariance
    checks.covariance("covariance", matrix)
    rows = _rows(len(matrix), equalities)
    if len(rows):
        basis = null_space(rows)
        matrix = basis.T @ matrix @ basis
    return float(np.linalg.eigvalsh(matrix)[0]) * eps if len(matrix) else 0.0


def _rows(n: int, equalities: Equalities) -> np.ndarray:
    if equalities is None:
        return np.zeros((0, n))
    return np.ones((1, n)) if isinstance(equalities, str) else equalities


def _product(metric: np.ndarray, vector: np.ndarray, ndim: int) -> np.ndarray:
    """A matrix or diagonal metric times vectors, by the rule of the module."""
    return (metric @ vector[..., None])[..., 0] if metric.ndim > ndim else metric * vector


def _check_covariance(utility: np.ndarray, covariance: np.ndarray) -> None:
    if covariance.ndim > utility.ndim:
        checks.covariance("covariance", covariance)
        checks.broadcastable("utility", utility, "covariance", covariance[..., 0])
    else:
        checks.broadcastable("utility", utility, "covariance", covariance)
        checks.finite("covariance", covariance)
        checks.positive("covariance", covariance)
