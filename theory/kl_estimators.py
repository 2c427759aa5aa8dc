"""Estimators of KL(pi || pi0) from samples of pi, each under its own name.

Every estimator takes log ratios ln pi(y) - ln pi0(y) at y drawn from pi, elementwise, and returns
one number a sample whose mean estimates the KL [schulman2020].
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from theory.arrays import Array, expected, log_ratio, namespace


def k1(log_ratio: Float[Any, "*batch"]) -> Float[Any, "*batch"]:
    """The log ratio itself: unbiased; single samples can be negative and the variance is large."""
    return log_ratio


def k2(log_ratio: Float[Any, "*batch"]) -> Float[Any, "*batch"]:
    """Half the squared log ratio: biased, of small variance, never negative.

    Its expectation is half the second moment of the log ratio, which is the KL to second order in
    the distance from pi0 and may be far off elsewhere. Differentiated sample by sample it has the
    gradient of the KL as expected gradient, which neither k1 (0) nor k3 has.
    """
    return log_ratio**2 / 2


def k3(log_ratio: Float[Any, "*batch"]) -> Float[Any, "*batch"]:
    """exp(-lr) - 1 + lr: unbiased, never negative, of small variance near pi = pi0.

    The control variate pi0/pi - 1 has mean 0 under pi only if pi covers the support of pi0 (else
    the estimate is too small by the uncovered mass), and a heavy tail where pi << pi0. The form
    exp(lr) - 1 - lr, seen in published code, is the estimator of KL(pi0 || pi) from samples of pi0
    and estimates neither divergence from samples of pi.

    >>> float(k3(np.array(0.0)))
    0.0
    """
    return namespace(log_ratio).expm1(-log_ratio) + log_ratio


ESTIMATORS: dict[str, Callable[[Array], Array]] = {"k1": k1, "k2": k2, "k3": k3}
"""Name to estimator."""


def exact_kl(
    log_policy: Float[Any, "*batch n"], log_reference: Float[Any, "*batch n"]
) -> Float[Any, "*batch"]:
    """KL(pi || pi0) in nats over the last axis, by enumeration.

    Both arguments are normalised log-probabilities. Infinite where pi has mass that pi0 lacks.

    >>> p, q = np.log(np.array([0.9, 0.1])), np.log(np.array([0.5, 0.5]))
    >>> float(exact_kl(p, q).round(6))
    0.368064
    """
    xp = namespace(log_policy, log_reference)
    policy = xp.exp(log_policy)
    kl = expected(policy, log_ratio(log_policy, log_reference))
    escapes = xp.any((policy > 0) & ~xp.isfinite(log_reference), axis=-1)
    return xp.where(escapes, xp.full_like(kl, np.inf), kl)
