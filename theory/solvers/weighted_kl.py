"""Weighted KL and Bregman penalties on the simplex: the exact optimum for a given cost."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.arrays import logsumexp

NEWTON_TOLERANCE = 1e-14
"""Of ln sum pi, relative to the exponents that it is summed from."""
NEWTON_ITERATIONS = 500
NEGLIGIBLE = 1e-20
"""Probabilities below this have no say in nu."""
WIDEST = 1e290
"""Largest ratio of utilities and costs at which no exponent overflows."""


class Tilt(NamedTuple):
    """Optimal policy, and the multiplier nu of its sum-to-one constraint (utility units)."""

    log_policy: Float[Any, "*batch n"]
    nu: Float[Any, "*batch"]


def tilt(
    utility: Float[np.ndarray, "*#batch #n"],
    cost: float | Float[np.ndarray, "*#batch #n"],
    log_reference: Float[np.ndarray, "*#batch #n"],
    form: str = "bregman",
) -> Tilt:
    """max over the simplex of sum_i u_i pi_i - D(pi), exactly, one problem a row.

    kl       D = sum_i cost_i pi_i ln(pi_i/pi0_i)                   pi = pi0 exp((u - nu)/cost - 1)
    bregman  D = sum_i cost_i (pi_i ln(pi_i/pi0_i) - pi_i + pi0_i)  pi = pi0 exp((u - nu)/cost)

    nu is the root of ln sum_i pi_i = 0, convex and decreasing in nu, by Newton's method from the
    left, where it converges monotonically (in one step when the cost is constant). `cost` >= 0 in
    utility units already contains beta; an arm of cost 0 takes the mass that the others leave at
    nu = its utility (tied arms share it like pi0). pi0 = 0 forces pi = 0. Corrected statement of
    [banerjee2024, Thm 3.6], whose formula holds for a cost constant over i only.

    Utilities enter by their differences only, so that a constant common to a row costs no more
    digits than adding it did; each probability is right to about 1e-13.

    Raises `InputError` for values that are not finite, a negative cost, an unknown form, or a
    range of utilities or costs more than 1e290 times the smallest positive cost.

    >>> reference = np.log([0.5, 0.5])
    >>> solution = tilt(np.array([1.0, 0.0]), np.array([4.0, 1.0]), reference, "kl")
    >>> np.exp(solution.log_policy).round(5)
    array([0.32669, 0.67331])
    """
    check(utility, "cost", cost, form)
    check_range(utility, "cost", cost)
    return tilt_unchecked(utility, np.asarray(cost, dtype=float), log_reference, form)


def greedy(
    utility: Float[np.ndarray, "*#batch n"],
    coefficient: Float[np.ndarray, "*#batch #n"],
    log_reference: Float[np.ndarray, "*#batch n"],
    form: str,
) -> Float[np.ndarray, "*batch n"]:
    """ln pi of the limit beta -> 0: least penalty among the policies of maximal utility."""
    inside = np.where(np.isfinite(log_reference), utility, -np.inf)
    face = inside == inside.max(-1, keepdims=True)
    on_face = np.where(face, log_reference, -np.inf)
    return tilt_unchecked(np.zeros_like(utility), coefficient, on_face, form).log_policy


def check(utility: np.ndarray, name: str, cost: Any, form: str) -> None:
    """Raise unless the form is known, all is finite and the cost called `name` is >= 0."""
    checks.one_of("form", form, ("bregman", "kl"))
    checks.finite("utility", utility)
    checks.finite(name, cost)
    checks.positive(name, cost, zero_allowed=True)


def check_range(utility: np.ndarray, name: str, cost: Any) -> None:
    """Raise unless no exponent (u_i - u_j) / cost_i or cost_j / cost_i can overflow."""
    charged = np.asarray(cost)[np.asarray(cost) > 0]
    if not charged.size or not utility.size:
        return
    with np.errstate(over="ignore"):
        widest = max(float(np.ptp(utility, axis=-1).max()), float(charged.max()))
        ratio = widest / float(charged.min())
    if not (widest <= WIDEST and charged.min() >= 1 / WIDEST and ratio <= WIDEST):
        raise checks.InputError(
            name,
            f"at least {1 / WIDEST:g} of the range of the utilities, of the largest cost and of 1",
            f"{charged.min():g} beside {widest:g}",
            "float64 holds no smaller ones: raise beta or sigma_min, or use another unit",
        )  # fmt: skip


def tilt_unchecked(
    utility: np.ndarray, cost: np.ndarray, log_reference: np.ndarray, form: str
) -> Tilt:
    """`tilt` for inner loops: ln pi_i = base_i + (u_i - nu) / cost_i."""
    base = log_reference - 1.0 if form == "kl" else log_reference
    utility, cost, base = np.broadcast_arrays(utility, cost, base)
    free = cost == 0
    if free.any():
        return _tilt_with_free_arms(utility, cost, base, log_reference)
    log_policy, excess, nu = _newton(utility, 1 / cost, base, *_left(utility, cost, base))
    return Tilt(log_policy - excess, nu[..., 0])


def _left(utility: np.ndarray, cost: np.ndarray, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest nu at which one arm alone has all mass, as an arm and a shift from its utility."""
    inside = np.where(np.isfinite(base), utility, -np.inf)
    alone = inside - inside.max(-1, keepdims=True) + cost * np.where(np.isfinite(base), base, 0.0)
    origin = alone.argmax(-1)[..., None]
    return origin, _at(cost * np.where(np.isfinite(base), base, 0.0), origin)


def _tilt_with_free_arms(
    utility: np.ndarray, cost: np.ndarray, base: np.ndarray, log_reference: np.ndarray
) -> Tilt:
    free, supported = cost == 0, np.isfinite(base)
    inverse = np.divide(1.0, cost, out=np.zeros(cost.shape), where=~free)
    origin, shift = _left(utility, cost, base)
    start = _at(utility, origin)
    wall = free & supported & (utility == start) & _at(free, origin)
    charged = np.where(free, -np.inf, base)
    alone = charged + (utility - start - shift) * inverse
    with np.errstate(divide="ignore"):
        below = logsumexp(alone, keepdims=True)
    remainder = wall.any(-1, keepdims=True) & (below < 0)
    still = np.where(remainder, np.where(np.arange(utility.shape[-1]) == origin, 0.0, -np.inf), 0.0)
    log_policy, excess, nu = _newton(
        utility, inverse, np.where(remainder, still, charged), origin, shift
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.log(-np.expm1(np.minimum(below, 0.0)))
        on_wall = np.where(wall, log_reference, -np.inf)
        shared = left + on_wall - logsumexp(on_wall, keepdims=True)
        normalised = np.where(remainder, alone, log_policy - excess)
    log_policy = np.where(remainder & wall, shared, normalised)
    return Tilt(log_policy, np.where(remainder, start, nu)[..., 0])


def _newton(
    utility: np.ndarray,
    inverse: np.ndarray,
    base: np.ndarray,
    origin: np.ndarray,
    shift: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Root nu of ln sum_i exp(base_i + (u_i - nu) inverse_i), from a nu left of it.

    nu is kept as a shift from the utility of one arm, the cheapest of those that have mass there:
    its mass is the most sensitive to nu, and the shift resolves it however small its cost is.
    Returns the exponents at the root, the ln of their sum, and nu.
    """
    for _ in range(NEWTON_ITERATIONS):
        pull = (utility - _at(utility, origin) - shift) * inverse
        log_weights = base + pull
        excess = logsumexp(log_weights, keepdims=True)
        weights = np.exp(log_weights - excess)
        present = weights > NEGLIGIBLE
        size = np.where(present, 1 + np.abs(pull) + np.abs(base), 0.0).max(-1, keepdims=True)
        unfinished = np.abs(excess) > NEWTON_TOLERANCE * size
        if not unfinished.any():
            break
        slope = (weights * inverse).sum(-1, keepdims=True)
        step = np.divide(excess, slope, out=np.zeros_like(excess), where=unfinished & (slope > 0))
        shift = shift + step
        cheapest = np.where(present, inverse, 0.0).argmax(-1)[..., None]
        moved = unfinished & (
            (_at(inverse, cheapest) > _at(inverse, origin)) | ~_at(present, origin)
        )
        shift = np.where(moved, shift + _at(utility, origin) - _at(utility, cheapest), shift)
        origin = np.where(moved, cheapest, origin)
    return log_weights, excess, _at(utility, origin) + shift


def _at(array: np.ndarray, arm: np.ndarray) -> np.ndarray:
    return np.take_along_axis(array, arm, -1)
