"""How far a policy is from its reference: one number a prompt, on NumPy and torch alike."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from theory.arrays import Array, expected, log_ratio, namespace, safe_sqrt


def divergence(
    log_policy: Float[Any, "*#batch n"],
    coefficient: Float[Any, "*#batch #n"],
    log_reference: Float[Any, "*#batch n"],
    form: str,
) -> Float[Any, "*batch"]:
    """sum_i c_i pi_i ln(pi_i/pi0_i) for 'kl', sum_i c_i (pi_i ln(pi_i/pi0_i) - pi_i + pi0_i) else.

    The first can be negative and is not smallest at pi0 when c varies; the second ('bregman') is
    >= 0 and zero only at pi0. They agree for a constant c. -inf in `log_reference` asks for -inf
    in `log_policy`. [banerjee2024, Thm 3.6] prints the first.

    >>> import numpy as np
    >>> pi, pi0, c = np.log([0.26, 0.74]), np.log([0.5, 0.5]), np.array([4.0, 1.0])
    >>> [round(float(divergence(pi, c, pi0, form)), 4) for form in ("kl", "bregman")]
    [-0.39, 0.33]
    """
    xp = namespace(log_policy, coefficient, log_reference)
    policy = xp.exp(log_policy)
    total = expected(policy * coefficient, log_ratio(log_policy, log_reference))
    if form == "kl":
        return total
    return total + xp.sum(coefficient * (xp.exp(log_reference) - policy), axis=-1)


def stable_divergence(
    log_policy: Float[np.ndarray, "*#batch n"],
    coefficient: Float[np.ndarray, "*#batch #n"],
    log_reference: Float[np.ndarray, "*#batch n"],
    form: str,
) -> Float[Any, "*batch"]:
    """Compute `divergence` of NumPy arrays without cancellation near the reference.

    pi ln(pi/pi0) - pi + pi0 = pi0 (x e^x - e^x + 1) with x = ln(pi/pi0), by its series for small x.

    >>> half = np.log([0.5, 0.5])
    >>> near = half + 1e-9 * np.array([1.0, -1.0])
    >>> stable_divergence(near, np.ones(2), half, "bregman").round(23)
    np.float64(5e-19)
    """
    ratio = log_ratio(log_policy, log_reference)
    reference = np.exp(log_reference)
    if form == "kl":
        return expected(np.exp(log_policy) * coefficient, ratio)
    finite = np.where(np.isfinite(ratio), ratio, 0.0)
    small = np.clip(finite, -0.1, 0.1)
    series = sum((k - 1) / math.factorial(k) * small ** (k - 2) for k in range(2, 14))
    policy = np.exp(log_policy)
    plain = np.where(policy > 0, policy * finite, 0.0) - policy + reference
    surplus = np.where(np.abs(finite) < 0.1, reference * small**2 * series, plain)
    return (coefficient * np.where(policy > 0, surplus, reference)).sum(-1)


def kl(
    log_policy: Float[Any, "*#batch n"], log_reference: Float[Any, "*#batch n"]
) -> Float[Any, "*batch"]:
    """Plain KL(pi || pi0) in nats; inf where pi has mass that pi0 lacks."""
    xp = namespace(log_policy, log_reference)
    outside = (xp.exp(log_policy) > 0) & ~xp.isfinite(log_reference)
    total = expected(xp.exp(log_policy), log_ratio(log_policy, log_reference))
    return xp.where(xp.any(outside, axis=-1), total + xp.inf, total)


def metric_product(metric: Array, displacement: Array, *, matrix: bool) -> Array:
    """S d for matrices S (*batch, n, n), or for their diagonals (*batch, n)."""
    return (metric @ displacement[..., None])[..., 0] if matrix else metric * displacement


def squared_norm(metric: Array, displacement: Array, *, matrix: bool) -> Array:
    """d'S d, one number a prompt."""
    product = metric_product(metric, displacement, matrix=matrix)
    return namespace(displacement).sum(displacement * product, axis=-1)


def norm(metric: Array, displacement: Array, *, matrix: bool) -> Array:
    """sqrt(d'S d), with gradient 0 at d = 0."""
    return safe_sqrt(squared_norm(metric, displacement, matrix=matrix))
