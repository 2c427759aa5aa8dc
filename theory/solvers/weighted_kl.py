"""Weighted KL and Bregman penalties on the simplex: the exact optimum for a given cost."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.arrays import Array, logsumexp

NEWTON_TOLERANCE = 1e-13
NEWTON_ITERATIONS = 500


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

    Raises `InputError` for values that are not finite, a negative cost, or an unknown form.

    >>> reference = np.log([0.5, 0.5])
    >>> solution = tilt(np.array([1.0, 0.0]), np.array([4.0, 1.0]), reference, "kl")
    >>> np.exp(solution.log_policy).round(5)
    array([0.32669, 0.67331])
    """
    check(utility, "cost", cost, form)
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


def tilt_unchecked(
    utility: np.ndarray, cost: np.ndarray, log_reference: np.ndarray, form: str
) -> Tilt:
    """`tilt` for inner loops. The kl form is the Bregman form of utility - cost."""
    gain = utility - cost if form == "kl" else utility
    if not cost.all():
        return _tilt_with_free_arms(gain, cost, log_reference)
    inverse = 1 / cost
    start = (gain + cost * log_reference).max(-1, keepdims=True)
    shift, log_weights, excess = _newton(log_reference + (gain - start) * inverse, inverse)
    return Tilt(log_weights - excess, (start + shift)[..., 0])


def _tilt_with_free_arms(gain: np.ndarray, cost: np.ndarray, log_reference: np.ndarray) -> Tilt:
    gain, cost, log_reference = np.broadcast_arrays(gain, cost, log_reference)
    free, supported = cost == 0, np.isfinite(log_reference)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(free, 0.0, 1 / cost)
        anchor = np.where(supported, gain + cost * log_reference, -np.inf)
    start = anchor.max(-1, keepdims=True)
    charged = np.where(free, -np.inf, log_reference)
    shift, log_weights, excess = _newton(charged + (gain - start) * inverse, inverse)
    wall = free & supported & (gain == start)
    remainder = wall.any(-1, keepdims=True) & (shift == 0) & (excess < 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.log(-np.expm1(np.minimum(excess, 0.0)))
        on_wall = np.where(wall, log_reference, -np.inf)
        shared = left + on_wall - logsumexp(on_wall, keepdims=True)
    normalised = log_weights - np.where(remainder, 0.0, excess)
    log_policy = np.where(remainder & wall, shared, normalised)
    return Tilt(log_policy, (start + shift)[..., 0])


def _newton(exponents: np.ndarray, inverse: Array) -> tuple[np.ndarray, ...]:
    """Root t >= 0 of ln sum_i exp(exponents_i - t inverse_i), all exponents <= 0.

    Working with the shift t instead of nu keeps full relative accuracy at any cost. Returns t,
    the log-weights at t and the ln of their sum (negative where the sum starts below 1).
    """
    shift = np.zeros_like(exponents[..., :1])
    for _ in range(NEWTON_ITERATIONS):
        log_weights = exponents - shift * inverse
        weights = np.exp(log_weights)
        total = weights.sum(-1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = np.log(total)
            if (excess <= NEWTON_TOLERANCE).all():
                break
            step = excess * total / (weights * inverse).sum(-1, keepdims=True)
        shift = shift + np.where(excess > NEWTON_TOLERANCE, step, 0.0)
    return shift, log_weights, excess
