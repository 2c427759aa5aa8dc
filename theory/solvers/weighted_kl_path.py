"""Optima of a weighted KL or Bregman penalty as its strength beta varies."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from theory.arrays import Array, log_ratio, power_of_two, weighted_mean
from theory.divergences import stable_divergence
from theory.solvers.weighted_kl import WIDEST, Tilt, check, check_range, greedy, tilt_unchecked


@dataclass(frozen=True, eq=False)
class Path:
    """The optima of one problem a run as beta varies, in units in which its numbers are near 1.

    utility:     the largest of each prompt is 0, in units of `utility_unit`, one a run.
    coefficient: in units of `penalty_unit`, one a run. Both units are powers of two: exact.
    top:         the largest utility of each prompt, in the units that it came in.
    """

    utility: np.ndarray
    coefficient: np.ndarray
    log_reference: np.ndarray
    form: Any
    prompt_weights: np.ndarray | None
    utility_unit: Array
    penalty_unit: Array
    top: Array

    def optimum(self, log_beta: Array) -> Tilt:
        """Optimal policy and nu at one ln beta a run."""
        cost = np.exp(log_beta)[..., None, None] * self.coefficient
        cost = np.where(self.coefficient > 0, np.maximum(cost, 1 / WIDEST), 0.0)
        return tilt_unchecked(self.utility, cost, self.log_reference, self.form)

    def beta(self, beta: Array) -> Array:
        """beta in the units that the problem came in."""
        unit = np.asarray(self.utility_unit / self.penalty_unit)
        return np.asarray(beta) * unit[(...,) + (None,) * (np.ndim(beta) - unit.ndim)]

    def nu(self, nu: Array) -> Array:
        """nu, one a prompt, in the units that the problem came in."""
        return self.top + nu * np.asarray(self.utility_unit)[..., None]

    @property
    def greedy(self) -> Array:
        """Limit beta -> 0."""
        return greedy(self.utility, self.coefficient, self.log_reference, self.form)

    @property
    def best(self) -> Array:
        """Largest utility on the support, one number a prompt."""
        return self._inside(self.utility, -np.inf).max(-1)

    @property
    def log_scale(self) -> Array:
        """ln of the beta at which cost and range of the utility are alike."""
        spread = (self.best - self._inside(self.utility, np.inf).min(-1)).max(-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(spread / self.coefficient.mean((-1, -2)))

    def penalty(self, log_policy: np.ndarray) -> Array:
        """Mean penalty over prompts."""
        parts = log_policy, self.coefficient, self.log_reference, self.form
        return self._mean(stable_divergence(*parts))

    def kl(self, log_policy: np.ndarray) -> Array:
        """Mean plain KL over prompts."""
        ones = np.ones_like(self.coefficient)
        return self._mean(stable_divergence(log_policy, ones, self.log_reference, "bregman"))

    def slope(self, log_policy: np.ndarray, weight: Array) -> Array:
        """d/d ln beta of the divergence weighted by `weight`: of `penalty`, or of `kl` with 1."""
        policy = np.exp(log_policy)
        shift = 1.0 if self.form == "kl" else 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            pull = np.where(policy > 0, log_ratio(log_policy, self.log_reference) + shift, 0.0)
            inverse = 1 / self.coefficient
            flow = (policy * pull).sum(-1, keepdims=True)
            log_slope = inverse * flow / (policy * inverse).sum(-1, keepdims=True) - pull
            return self._mean((weight * pull * policy * log_slope).sum(-1))

    def ends(self, kl: Any) -> tuple[Array, Array]:
        """ln beta below which the optimum is greedy, and above which utility has no influence."""
        gap = self.best[..., None] - self._inside(self.utility, -np.inf)
        smallest = np.where(gap > 0, gap, np.inf).min((-1, -2))
        largest = np.where(np.isfinite(gap), gap, 0.0).max((-1, -2))
        rarest = -self._inside(self.log_reference, 0.0).min((-1, -2))
        steep, flat = self.coefficient.max((-1, -2)), self.coefficient.min((-1, -2))
        varied = largest > 0
        low = np.where(varied, smallest, 1.0) / (steep * (74 + 2 * rarest))
        high = np.where(varied, largest, 1.0) / flat * (1e3 / np.minimum(kl, 1.0))
        return np.log(low), np.log(high)

    def _inside(self, array: np.ndarray, outside: float) -> Array:
        return np.where(np.isfinite(self.log_reference), array, outside)

    def _mean(self, rows: Array) -> Array:
        return np.asarray(weighted_mean(rows, self.prompt_weights))


def optima(
    utility: np.ndarray,
    coefficient: np.ndarray,
    log_reference: np.ndarray,
    form: str,
    prompt_weights: np.ndarray | None,
) -> Path:
    """A checked and broadcast `Path`."""
    check(utility, "coefficient", coefficient, form)
    check_range(np.zeros(1), "coefficient", coefficient)
    coefficient, log_reference = (
        np.broadcast_to(a, utility.shape) for a in (coefficient, log_reference)
    )
    inside = np.isfinite(log_reference)
    top = np.where(inside, utility, -np.inf).max(-1)
    utility = np.where(inside, utility - top[..., None], 0.0)
    unit, price = (power_of_two(np.abs(a).max((-1, -2))) for a in (utility, coefficient))
    return Path(
        utility / unit[..., None, None], coefficient / price[..., None, None], log_reference, form,
        prompt_weights, unit, price, top,
    )  # fmt: skip
