"""Distributionally robust utilities: min over reweightings q of the members of E_q[r].

u denotes the uniform weights 1/k.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.arrays import Array, logsumexp, namespace, safe_sqrt
from theory.binding import UNBOUND, Binding
from theory.scores import Scores
from theory.utilities import Utility


@dataclass(frozen=True)
class Entropic(Utility):
    """min_q E_q[r] + temperature * KL(q | u) = -t ln mean exp(-r / t).

    Tends to the mean as t grows and to the worst member as t -> 0.

    >>> import numpy as np
    >>> scores = Scores(np.array([[1.2, -0.3, 0.5, 2.0, 0.1]]))
    >>> round(float(Entropic(0.5)(scores)[0]), 4)
    0.2362
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        checks.scale("temperature", self.temperature)

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Soft minimum over members."""
        worst, excess = _from_worst(scores.members)
        log_total = logsumexp(-_ratio(excess, self.temperature))
        return worst - self.temperature * (log_total - math.log(scores.k))


@dataclass(frozen=True)
class ChiSquarePenalty(Utility):
    """min_q E_q[r] + (tau / 2) chi2(q | u), chi2(q | u) = k sum (q_i - 1/k)^2.

    q_i = max(0, 1/k + (nu - r_i) / (k tau)), nu by sorting. It is `UWO(1 / (2 tau), ddof=0)`
    exactly when tau >= max r - mean r; below that range UWO is too pessimistic.

    >>> import numpy as np
    >>> scores = Scores(np.array([[1.2, -0.3, 0.5, 2.0, 0.1]]))
    >>> [round(float(ChiSquarePenalty(tau)(scores)[0]), 4) for tau in (2.0, 0.5)]
    [0.533, 0.2027]
    """

    tau: float = 1.0

    def __post_init__(self) -> None:
        checks.scale("tau", self.tau)

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Robust mean of each cell."""
        xp = namespace(scores.members)
        worst, excess = _from_worst(scores.members)
        lowest = xp.sort(excess, axis=-1)
        k, size = scores.k, _support_sizes(lowest)
        nu = (self.tau * (k - size) + xp.cumulative_sum(lowest, axis=-1)) / size
        # One support size is consistent: its largest member is below nu + tau, the next is not.
        inside = xp.sum(xp.astype(lowest < nu + self.tau, xp.int64), axis=-1, keepdims=True)
        nu = xp.take_along_axis(nu, inside - 1, axis=-1)
        q = xp.clip(1 / k + _ratio(nu - excess, self.tau) / k, 0.0, None)
        return worst + xp.sum(q * excess + 0.5 * self.tau * k * (q - 1 / k) ** 2, axis=-1)


@dataclass(frozen=True)
class ChiSquareBall(Utility):
    """min_q E_q[r] s.t. chi2(q | u) <= rho.

    It is `LCB(sqrt(rho), ddof=0)` exactly when sqrt(rho) <= std / (max r - mean r); beyond that
    range LCB leaves the simplex of q and is too pessimistic.

    >>> import numpy as np
    >>> scores = Scores(np.array([[1.2, -0.3, 0.5, 2.0, 0.1]]))
    >>> [round(float(ChiSquareBall(rho)(scores)[0]), 4) for rho in (0.3, 1.0)]
    [0.2523, -0.0461]
    """

    rho: float = 1.0

    def __post_init__(self) -> None:
        checks.positive_number("rho", self.rho, zero_allowed=True)

    def __call__(self, scores: Scores, binding: Binding = UNBOUND) -> Float[Any, "*cells"]:
        """Robust mean of each cell."""
        xp = namespace(scores.members)
        worst, excess = _from_worst(scores.members)
        unit = xp.max(excess, axis=-1, keepdims=True)
        unit = xp.where(unit > 0, unit, xp.ones_like(unit))
        lowest = xp.sort(excess / unit, axis=-1)
        size = _support_sizes(lowest)
        mean = xp.cumulative_sum(lowest, axis=-1) / size
        spread = safe_sqrt(xp.cumulative_sum(lowest**2, axis=-1) - size * mean**2)
        slack = (1 + self.rho) / scores.k - 1 / size
        radius = safe_sqrt(slack)
        smallest_q = 1 / size - radius * (lowest - mean) / xp.where(spread > 0, spread, 1.0)
        rounding = 16 * scores.k * xp.finfo(lowest.dtype).eps
        feasible = (slack >= -rounding) & (smallest_q >= -rounding)
        robust = xp.where(feasible, mean - radius * spread, lowest[..., -1:])
        return worst + unit[..., 0] * xp.min(robust, axis=-1)


def _from_worst(members: Array) -> tuple[Array, Array]:
    """The worst member, and what all are above it: sums of the latter do not cancel."""
    worst = namespace(members).min(members, axis=-1, keepdims=True)
    return worst[..., 0], members - worst


def _ratio(excess: Array, scale: float) -> Array:
    """excess / scale, inf where it overflows."""
    with np.errstate(over="ignore"):
        return excess / scale


def _support_sizes(members: Array) -> Array:
    """1, ..., k in the dtype of the members, as many times as there are cells."""
    xp = namespace(members)
    return xp.cumulative_sum(xp.ones_like(members), axis=-1)
