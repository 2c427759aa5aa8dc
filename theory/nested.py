"""Returns of policies that share a reward model: components of variance, and a bootstrap."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.errors import InputError


class Components(NamedTuple):
    """Variance of returns between members, and within a member from trial to trial."""

    between: Any
    within: Any


def variance_components(
    returns: Float[np.ndarray, "*studies members trials"], *, floored: bool = False
) -> Components:
    """One-way random effects by the method of moments; leading axes are studies of their own.

    within is the mean over members of the sample variance of their trials; between is the sample
    variance of the members' means less within / trials. Both are unbiased. The second may be
    negative and is left so, that averages over studies stay unbiased, unless `floored` asks for
    at least 0. Raises `InputError` for fewer than two members or two trials.

    >>> [float(part) for part in variance_components(np.array([[0.0, 2.0], [4.0, 6.0]]))]
    [7.0, 2.0]
    """
    for name, size in zip(("members", "trials"), returns.shape[-2:], strict=True):
        if size < 2:
            raise InputError("returns", f"at least two {name}", returns.shape)
    checks.finite("returns", returns)
    within = returns.var(-1, ddof=1).mean(-1)
    between = returns.mean(-1).var(-1, ddof=1) - within / returns.shape[-1]
    return Components(np.maximum(between, 0.0)[()] if floored else between, within)


def nested_bootstrap(
    returns: Float[np.ndarray, "members trials *methods"],
    statistic: Callable[[np.ndarray], float],
    *,
    rng: np.random.Generator,
    draws: int,
) -> Float[np.ndarray, " draws"]:
    """`statistic` of resampled returns: members first, then trials within each of them.

    Trials of one member are not independent, so that resampling policies alone gives intervals
    that are too short. Trailing axes, such as methods to compare, are kept together. With m
    members of n trials the variance between them is understated by (m - 1) / m, and the variance
    within is counted a second time, 1/n of it in a mean; few members with many trials give
    intervals that are too short.
    """
    checks.positive("draws", draws)
    members, trials = returns.shape[:2]
    found = np.empty(draws)
    for draw in range(draws):
        chosen = rng.integers(members, size=(members, 1))
        repeated = rng.integers(trials, size=(members, trials))
        found[draw] = statistic(returns[chosen, repeated])
    return found
