"""Monte Carlo kernel of the improvements of both rules: [banerjee2024, Figs. 3-5].

With R = r + S^(1/2) z and a rule A = D - U'U (D diagonal, U one row an equality), the improvement
sqrt(eps) r'A R / sqrt(R'A R) needs of each z only

    z'S^(1/2) A r,    (z*z)'S D 1,    U S^(1/2) z,

so one block of normals serves both rules in a few reductions and without a copy. The reductions
are `einsum` rather than BLAS, whose rounding depends on the number of threads.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Shaped

from theory import checks
from theory.montecarlo import normal_rows
from theory.solvers.ellipsoid import prompt_sums, steepest


class RuleColumns(NamedTuple):
    """What one rule reduces a vector of normals with, and its constants eps and r'A r."""

    eps: float
    constant: float
    linear: Float32[np.ndarray, " n"]
    square: Float32[np.ndarray, " n"]
    removed: Float32[np.ndarray, "rows n"]

    def products(self, z: Float32[np.ndarray, "draws n"]) -> list[np.ndarray]:
        """S^(1/2) A r and then the rows of U S^(1/2), times z, in float64."""
        return [_reduce(z, column) for column in (self.linear, *self.removed)]

    def improvement(
        self, products: list[np.ndarray], squares: Float32[np.ndarray, "draws n"]
    ) -> Float[np.ndarray, " draws"]:
        """(pi - pi0)'r of each draw.

        R'A R is at least (r'A R)^2 / r'A r, also where few directions leave it to rounding.
        """
        noise, *removed = products
        gain = self.constant + noise
        norm = self.constant + 2 * noise + _reduce(squares, self.square)
        norm = np.maximum(norm - sum(part**2 for part in removed), gain**2 / self.constant)
        return math.sqrt(self.eps) * gain / np.sqrt(norm)


@dataclass(frozen=True)
class ReturnSampler:
    """Kernel for `simulate`: improvements `unaware`, `aware`, and the events of doing harm (<= 0).

    The events `only_unaware_harm` and `only_aware_harm` are those of `paired_difference`.
    """

    unaware_rule: RuleColumns
    aware_rule: RuleColumns

    def __call__(
        self, rng: np.random.Generator, rows: int
    ) -> Mapping[str, Shaped[np.ndarray, " rows"]]:
        """Draw `rows` estimates R and return the columns."""
        z = normal_rows(rng, rows, len(self.aware_rule.linear))
        rules = (self.unaware_rule, self.aware_rule)
        products = [rule.products(z) for rule in rules]
        squares = np.square(z, out=z)
        unaware, aware = (
            rule.improvement(parts, squares) for rule, parts in zip(rules, products, strict=True)
        )
        unaware_harm, aware_harm = unaware <= 0, aware <= 0
        return {
            "unaware": unaware,
            "aware": aware,
            "unaware_harm": unaware_harm,
            "aware_harm": aware_harm,
            "only_unaware_harm": unaware_harm & ~aware_harm,
            "only_aware_harm": aware_harm & ~unaware_harm,
        }


def return_sampler(
    reward: Float[np.ndarray, " n"],
    variances: Float[np.ndarray, " n"],
    *,
    unaware_eps: float,
    aware_eps: float,
    prompts: int | None = None,
) -> ReturnSampler:
    """Kernel for d1 (|d|^2 <= unaware_eps) and d2 (d'S d <= aware_eps), S = diag(variances).

    `prompts` = 1 makes each displacement sum to 0, more do so within each of that many equal
    blocks; None leaves d free, as the paper does. Raises `InputError` for values that are not
    finite, variances or budgets <= 0, prompts that do not divide n, or a reward whose
    displacement is 0.
    """
    checks.finite("reward", reward)
    checks.finite("variances", variances)
    checks.broadcastable("reward", reward, "variances", variances)
    checks.positive("variances", variances)
    checks.positive("eps", np.array([unaware_eps, aware_eps]))
    rows = _equality_rows(len(reward), prompts)
    return ReturnSampler(
        _columns(np.ones_like(variances), reward, variances, unaware_eps, rows),
        _columns(variances, reward, variances, aware_eps, rows),
    )


def _columns(
    metric: np.ndarray, reward: np.ndarray, variances: np.ndarray, eps: float, rows: np.ndarray
) -> RuleColumns:
    """Columns of the maximiser of R'd s.t. d'diag(metric) d <= eps and rows @ d = 0."""
    direction, constant = steepest(reward, metric, equalities=rows)
    if constant == 0:
        raise checks.InputError("reward", "changed by some displacement", "the same everywhere")
    weighted = rows / metric
    removed = np.linalg.solve(np.linalg.cholesky(weighted @ rows.T), weighted)
    noise = np.sqrt(variances)
    columns = (noise * direction, variances / metric, noise * removed)
    linear, square, removed = (column.astype(np.float32) for column in columns)
    return RuleColumns(eps, float(constant), linear, square, removed)


def _equality_rows(n: int, prompts: int | None) -> np.ndarray:
    if prompts is None:
        return np.zeros((0, n))
    if prompts < 1 or n % prompts:
        raise checks.InputError("prompts", f"a divisor of n = {n}", prompts)
    return prompt_sums(prompts, n // prompts)


def _reduce(block: np.ndarray, column: np.ndarray) -> np.ndarray:
    return np.einsum("ij,j->i", block, column).astype(float)
