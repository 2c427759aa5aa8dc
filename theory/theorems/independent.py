"""Generic optimisers that know none of the formulas that they are used to check."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import optimize

from theory.arrays import logsumexp


def mirror_ascent(
    reward: Callable[[np.ndarray], np.ndarray],
    start: Float[np.ndarray, " n"],
    reference: Float[np.ndarray, " n"],
    *,
    rate: float,
    steps: int = 2000,
) -> Float[np.ndarray, " n"]:
    """Where the natural policy gradient of a detached reward comes to rest.

    ln pi grows by rate * reward(ln(pi/reference)); the stationary points are those of the softmax
    policy gradient, where the reward is the same for every response.
    """
    log_policy, log_reference = np.log(start), np.log(reference)
    for _ in range(steps):
        log_policy = log_policy + rate * reward(log_policy - log_reference)
        log_policy = log_policy - logsumexp(log_policy)
    return np.exp(log_policy)


def constrained_maximum(
    value: Callable[[np.ndarray], float],
    start: Float[np.ndarray, " n"],
    *,
    distribution: int,
    at_least_zero: Callable[[np.ndarray], Any] | None = None,
) -> Float[np.ndarray, " n"]:
    """Maximise by SLSQP; the first `distribution` entries are probabilities that sum to 1."""
    constraints: list[Any] = [{"type": "eq", "fun": lambda x: x[:distribution].sum() - 1}]
    if at_least_zero is not None:
        constraints.append({"type": "ineq", "fun": at_least_zero})
    options: Any = {"ftol": 1e-14, "maxiter": 1000}
    bounds: list[Any] = [(1e-12, 1.0)] * distribution + [(None, None)] * (start.size - distribution)

    def loss(x: np.ndarray, *_: Any, **__: Any) -> float:
        return -value(x)

    found = optimize.minimize(
        loss,
        start,
        method="SLSQP",
        bounds=bounds,
        constraints=constraints,
        options=options,
    )
    return found.x
