"""Quadratic penalties with a diagonal metric on the whole simplex, exactly.

All problems here have the optimum pi = max(0, pi0 + (u - nu) / (price * weight)); they differ in
the price. Arms that a price makes negative are dropped and the rest solved again.
Unlike for divergences, an arm with pi0 = 0 may receive mass.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.arrays import Array, power_of_two
from theory.solvers.roots import decreasing_root

TINY = 1e-300
"""Stands for zero under a division; its inverse stands for infinity."""
FURTHEST = 4.0
"""More than any squared distance within the simplex, in units of the largest weight."""


class QuadraticOptimum(NamedTuple):
    """Policy, sum-to-one multiplier nu (utility units) and the multiplier beta of the quadratic.

    On the support u - nu = 2 beta weight (pi - pi0).
    """

    policy: Float[Any, "*batch n"]
    nu: Float[Any, "*batch"]
    beta: Float[Any, "*batch"]


class _Support(NamedTuple):
    """Optimum at the final support, where |pi - pi0|^2 = rate^2 variance + floor.

    All but the policy keep the last axis with length 1; the price is 1 / rate.
    """

    policy: np.ndarray
    nu: np.ndarray
    rate: np.ndarray
    variance: np.ndarray
    floor: np.ndarray

    def optimum(self, beta: Array) -> QuadraticOptimum:
        rows = np.zeros(self.policy.shape[:-1])
        return QuadraticOptimum(self.policy, rows + self.nu[..., 0], rows + beta)


Rate = Callable[[Array, Array], Array]
"""(variance, floor) of the current support to 1 / price there."""


def simplex_penalised(
    utility: Float[np.ndarray, "*#batch n"],
    cost: Float[np.ndarray, "*#batch n"],
    reference: Float[np.ndarray, "*#batch n"],
) -> QuadraticOptimum:
    """max over the simplex of u'pi - sum_i cost_i (pi_i - pi0_i)^2, one problem a row.

    `cost` > 0 in utility units already contains beta, so `beta` of the result is 1. Raises
    `InputError` for bad values.

    >>> half = np.array([0.5, 0.5])
    >>> simplex_penalised(np.array([1.0, 0.0]), np.array([1.0, 1.0]), half).policy
    array([0.75, 0.25])
    """
    _check(utility, "cost", cost, reference)
    utility, cost, reference = np.broadcast_arrays(utility, cost, reference)
    top = utility.max(-1, keepdims=True)
    unit = power_of_two(np.maximum(np.ptp(utility, axis=-1), cost.max(-1)))[..., None]
    found = _active_set((utility - top) / unit, cost / unit, reference, _fixed(0.5)).optimum(1.0)
    return found._replace(nu=found.nu * unit[..., 0] + top[..., 0])


def simplex_budget(
    utility: Float[np.ndarray, "*#batch n"],
    weight: Float[np.ndarray, "*#batch n"],
    reference: Float[np.ndarray, "*#batch n"],
    eps: float | Float[np.ndarray, "*#batch"],
) -> QuadraticOptimum:
    """max over the simplex of u'pi s.t. sum_i weight_i (pi_i - pi0_i)^2 <= eps, one a row.

    eps = 0 gives pi0 and beta = inf; an eps that the nearest greedy policy meets gives that one
    and beta = 0. [banerjee2024, sec. 3] with positivity, which its formulas leave out.

    Raises `InputError` for bad values or eps < 0.

    >>> u, pi0 = np.array([3.6, 1.8, 2.8]), np.ones(3) / 3
    >>> simplex_budget(u, np.ones(3), pi0, 0.5).policy.round(4)
    array([0.9082, 0.    , 0.0918])
    """
    utility, weight, reference = np.broadcast_arrays(utility, weight, reference)
    return _budget(utility, weight, reference, eps, lambda rows: rows, -1)


def simplex_budget_shared(
    utility: Float[np.ndarray, "*#runs #prompts n"],
    weight: Float[np.ndarray, "*#runs #prompts n"],
    reference: Float[np.ndarray, "*#runs prompts n"],
    eps: float | Float[np.ndarray, "*#runs"],
    prompt_weights: Float[np.ndarray, " prompts"] | None = None,
) -> QuadraticOptimum:
    """max E_x u'pi s.t. E_x sum_i weight_i (pi_i - pi0_i)^2 <= eps, one beta for all prompts.

    E_x is uniform unless `prompt_weights` > 0 are given; `beta` has shape (*runs, prompts), equal
    over prompts. Otherwise as `simplex_budget`.
    """
    utility, weight, reference = np.broadcast_arrays(utility, weight, reference)
    prompts = np.ones(utility.shape[-2]) if prompt_weights is None else prompt_weights
    share = (prompts / prompts.sum())[:, None]

    def mean(rows: Array) -> Array:
        return (share * rows).sum(-2, keepdims=True)

    return _budget(utility, weight, reference, _column(np.asarray(eps)), mean, (-2, -1))


def simplex_norm(
    utility: Float[np.ndarray, "*#batch n"],
    weight: Float[np.ndarray, "*#batch n"],
    reference: Float[np.ndarray, "*#batch n"],
    beta: float | Float[np.ndarray, "*#batch"],
) -> QuadraticOptimum:
    """max over the simplex of u'(pi - pi0) - beta |pi - pi0|, |d|^2 = sum_i weight_i d_i^2.

    [banerjee2024, Eq. 2] on the simplex, where it is the guaranteed gain over the ellipsoid of
    radius beta around u. pi = pi0 where beta reaches the steepest slope u'd / |d| at pi0;
    otherwise price * |d| = beta, increasing in the price, is solved for it. The multiplier
    returned as `beta` is price / 2, that of a budget with the same optimum (inf at pi0).

    Raises `InputError` for bad values or beta <= 0.
    """
    _check(utility, "weight", weight, reference)
    checks.finite("beta", beta)
    checks.positive("beta", beta)
    utility, weight, reference = np.broadcast_arrays(utility, weight, reference)
    top, unit, scale = _units(utility, weight, -1)
    utility, weight = (utility - top) / unit, weight / scale
    beta = beta * (np.sqrt(scale) / unit)[..., 0]
    shape = utility.shape
    target = np.log(np.broadcast_to(beta, shape[:-1]))
    cone = np.where(reference > 0, 1 / TINY, 0.0)  # positive arms never bind
    steepest = _active_set(utility, weight, cone, _fixed(1.0))
    moves = np.sqrt(steepest.variance[..., 0]) > beta

    def log_excess(log_price: Array) -> tuple[Array, Array]:
        price = np.exp(log_price)
        at = _active_set(utility, weight, reference, _fixed(1 / price[..., None]))
        variance, floor = at.variance[..., 0], price**2 * at.floor[..., 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            value = target - np.log(variance + floor) / 2
            return np.where(moves, value, 0.0), -floor / (variance + floor)

    start = target - np.log(2 * np.broadcast_to(weight, shape).max(-1)) / 2
    price = np.where(moves, np.exp(decreasing_root(log_excess, start)), np.inf)
    found = _active_set(utility, weight, reference, _fixed(1 / price[..., None]))
    nu = np.where(moves, found.nu[..., 0], steepest.nu[..., 0])
    beta = price / 2 * (unit / scale)[..., 0]
    return found.optimum(beta)._replace(nu=nu * unit[..., 0] + top[..., 0])


def _budget(
    utility: np.ndarray,
    weight: np.ndarray,
    reference: np.ndarray,
    eps: Any,
    mean: Callable[[Array], Array],
    axis: int | tuple[int, int],
) -> QuadraticOptimum:
    """One budget over whatever `mean` averages: rate^2 mean(variance) + mean(floor) = eps."""
    _check(utility, "weight", weight, reference)
    checks.finite("eps", eps)
    checks.positive("eps", eps, zero_allowed=True)
    top, unit, price = _units(utility, weight, axis)
    with np.errstate(over="ignore"):
        bound = np.minimum(_column(np.asarray(eps)) / price, FURTHEST)

    def rate(variance: Array, floor: Array) -> Array:
        slack = abs(bound - mean(floor))  # negative by rounding only
        return slack**0.5 / (mean(variance) + TINY) ** 0.5

    found = _active_set((utility - top) / unit, weight / price, reference, rate)
    with np.errstate(divide="ignore"):
        beta = np.where(mean(found.variance) > 0, 0.5 / found.rate, 0.0) * (unit / price)
    best = found.optimum(beta[..., 0])
    return best._replace(nu=best.nu * unit[..., 0] + top[..., 0])


def _units(
    utility: np.ndarray, weight: np.ndarray, axis: int | tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Largest utility of each row, and units in which utilities and weights are near 1."""
    top = utility.max(-1, keepdims=True)
    unit, price = (power_of_two(size.max(axis, keepdims=True)) for size in (top - utility, weight))
    return top, unit, price


def _fixed(rate: Array) -> Rate:
    return lambda *_: rate


def _active_set(
    utility: np.ndarray, weight: np.ndarray, reference: np.ndarray, rate_of: Rate
) -> _Support:
    """Drop the arms that are negative on the current support until none is.

    Starting from all arms the supports only shrink and always contain the optimal one: dropping
    lets the price of a budget only fall and nu only rise, and an arm once at zero stays there.
    So the last support is optimal and the result exact, after at most n rounds, usually a few.
    """
    inverse, kept = 1 / weight, reference
    lost = spent = 0.0
    while True:
        total = _sum(inverse)
        cheapest = inverse.argmax(-1)[..., None]  # the most sensitive to nu: it is the origin
        top = np.take_along_axis(utility, cheapest, -1)
        gain = utility - top
        centre = _dot(inverse, gain) / total
        centred = gain - centre
        slope = inverse * centred
        variance, lift = _dot(slope, centred), lost / total
        floor = spent + lost * lift
        rate = rate_of(variance, floor)
        policy = kept + rate * slope
        policy += lift * inverse
        positive = policy >= 0
        if (positive | (inverse == 0)).all():
            break
        remaining = kept * positive
        gone = kept - remaining
        lost = lost + _sum(gone)
        spent = spent + _dot(weight * gone, gone)
        inverse, kept = inverse * positive, remaining
    rounding = (_sum(policy) - _sum(reference)) / total
    policy = np.maximum(policy - rounding * inverse, 0.0)
    with np.errstate(divide="ignore"):
        price = np.where(np.asarray(rate) > 0, 1 / np.asarray(rate), 0.0)
    rest = (top + centre - price * lift, rate, variance, floor)
    return _Support(policy, *map(np.atleast_1d, rest))


def _sum(a: np.ndarray) -> Array:
    return _column(np.add.reduce(a, -1))


def _dot(a: np.ndarray, b: np.ndarray) -> Array:
    return _column(np.vecdot(a, b))


def _column(rows: Array) -> Array:
    """Numbers a row against the axis of arms; one row stays a scalar, which is much faster."""
    return rows[..., None] if rows.ndim else rows


def _check(utility: np.ndarray, name: str, weight: np.ndarray, reference: np.ndarray) -> None:
    checks.finite("utility", utility)
    checks.finite(name, weight)
    checks.positive(name, weight)
    checks.probabilities("reference", reference)
