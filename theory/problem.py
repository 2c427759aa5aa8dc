"""An objective made concrete: the arrays of one exact solve, as NumPy."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.arrays import Array, logsumexp, to_numpy, weighted_mean
from theory.binding import Binding
from theory.divergences import metric_product, norm, squared_norm, stable_divergence
from theory.mixes import PolicyWorstMix, opponents
from theory.objective import Objective
from theory.penalties import Budget, Penalty, metric
from theory.returned import of_cells
from theory.scores import Scores
from theory.solvers.member_mix import robust_mean
from theory.solvers.weighted_kl import WIDEST

DOMAINS = ("simplex", "sum_to_one", "unconstrained")


@dataclass(frozen=True, eq=False)
class Problem:
    """Cells are (*runs, prompts, n); a matrix metric has one more axis of length n.

    utility:       u(x, y); the nominal one where members are mixed at policy level.
    members:       scores (*cells, m) over which a policy-level objective takes the worst.
    offset:        what was subtracted from the utilities of each prompt, so that their largest is 0
                   and a constant common to them costs no digits (0 where they have no sum to one).
    metric:        coefficient c(x, y), or the metric of a quadratic form.
    log_reference: ln pi0, -inf outside its support.
    domain:        'simplex'; or 'sum_to_one' and 'unconstrained', where pi may be negative.
    """

    objective: Objective
    utility: Float[np.ndarray, "*runs prompts n"]
    members: Float[np.ndarray, "*runs prompts n m"] | None
    offset: Float[Any, "*runs prompts"]
    metric: Float[np.ndarray, "..."]
    log_reference: Float[np.ndarray, "*runs prompts n"]
    prompt_weights: Float[np.ndarray, " prompts"] | None
    domain: str

    @property
    def mix(self) -> PolicyWorstMix | None:
        """The policy-level utility, where there is one."""
        utility = self.objective.utility
        return utility if isinstance(utility, PolicyWorstMix) else None

    @property
    def runs(self) -> tuple[int, ...]:
        """Shape of the population."""
        return self.utility.shape[:-2]

    @property
    def reference(self) -> Float[np.ndarray, "*runs prompts n"]:
        """pi0."""
        return np.exp(self.log_reference)

    def per_cell(self, rows: Array) -> Array:
        """One number a run, or a prompt, against the cells."""
        rows = np.asarray(rows)
        return rows[(...,) + (None,) * (self.utility.ndim - rows.ndim)]

    @property
    def is_divergence(self) -> bool:
        """Whether the form is a weighted KL or Bregman divergence."""
        return self.objective.form in ("bregman", "kl")

    def prompt_mean(self, rows: Array) -> Array:
        """E_x of one number a prompt."""
        return weighted_mean(rows, self.prompt_weights)

    def penalty(self, policy: np.ndarray, log_policy: np.ndarray) -> Array:
        """Penalty of each prompt, without beta."""
        if self.is_divergence:
            return stable_divergence(
                log_policy, self.metric, self.log_reference, self.objective.form
            )
        size = norm if self.objective.form == "norm" else squared_norm
        moved = policy - self.reference
        return size(self.metric, moved, matrix=self.objective.coefficient.matrix)

    def marginal_penalty(self, policy: np.ndarray, log_policy: np.ndarray) -> Array:
        """d penalty / d pi of each cell; that of the square for the norm form."""
        if self.is_divergence:
            inside = np.isfinite(self.log_reference)
            ratio = log_policy - np.where(inside, self.log_reference, 0.0)
            return self.metric * (ratio + (self.objective.form == "kl"))
        moved = policy - self.reference
        return 2 * metric_product(self.metric, moved, matrix=self.objective.coefficient.matrix)

    def expected_utility(self, policy: np.ndarray) -> Array:
        """E_x E_pi[u] of each run, the worst case over members included."""
        gain = self.prompt_mean((policy * self.utility).sum(-1))
        offset = self.prompt_mean(self.offset)
        if self.mix is None or self.members is None:
            return gain + offset
        per_prompt = (policy[..., None] * self.members).sum(-2)
        returns = weighted_mean(per_prompt, self.prompt_weights, axis=-2)
        worst = robust_mean(returns, self.mix.temperature)
        return self.mix.lam * gain + (1 - self.mix.lam) * worst + offset

    def utility_at(self, weights: Float[np.ndarray, "*runs m"] | None) -> np.ndarray:
        """u(x, y) at fixed weights of the members."""
        if self.mix is None or self.members is None:
            return self.utility
        assert weights is not None
        mixed = (self.members * weights[..., None, None, :]).sum(-1)
        return self.mix.lam * self.utility + (1 - self.mix.lam) * mixed


class Optimum(NamedTuple):
    """What a route found for centred utilities; rows of runs that were not solved are NaN.

    beta: (*runs), or (*runs, prompts) where every prompt has its own budget; nu: (*runs, prompts).
    least_penalty: the smallest attainable one, where a budget may be below it.
    """

    policy: np.ndarray
    log_policy: np.ndarray
    nu: Array
    beta: Array
    status: Array
    method: str
    member_weights: np.ndarray | None = None
    crossings: Array | None = None
    least_penalty: Array | None = None


def make_problem(
    objective: Objective,
    binding: Binding,
    log_reference: Float[np.ndarray, "*#batch n"],
    scores: Scores,
    *,
    prompt_weights: Float[np.ndarray, " prompts"] | None,
    domain: str,
) -> Problem:
    """Check and evaluate the parts of an objective on NumPy scores with a prompt axis.

    Raises `InputError` for shapes that do not match, a reference that is not a distribution in
    logarithms, an unknown domain, a domain that the form cannot have, or a negative budget of a
    form that is never negative.
    """
    checks.one_of("domain", domain, DOMAINS)
    _check_reference(log_reference, scores)
    total = logsumexp(log_reference, keepdims=True)  # of float32, 1e-7 from 0
    log_reference = np.where(np.abs(total) > 1e-12, log_reference - total, log_reference)
    _check_strength(objective)
    divergent = objective.form in ("bregman", "kl")
    if divergent and domain != "simplex":
        raise checks.InputError("domain", f"'simplex' for form={objective.form!r}", repr(domain))
    mixed = isinstance(objective.utility, PolicyWorstMix)
    part = objective.utility.nominal if mixed else objective.utility  # type: ignore[attr-defined]
    cells = np.broadcast_shapes(scores.members.shape[:-1], log_reference.shape)
    if prompt_weights is not None:
        if prompt_weights.shape != cells[-2:-1]:
            raise checks.InputError(
                "prompt_weights", f"of shape {cells[-2:-1]}", prompt_weights.shape
            )
        prompt_weights = prompt_weights / prompt_weights.sum()
    if divergent:
        cost = of_cells(objective.coefficient, scores, binding, broadcast=True)
    else:
        cost = metric(objective.coefficient, scores, log_reference, binding)
    members = opponents(objective.utility, scores) if mixed else None  # type: ignore[arg-type]
    tail = cells[-1:] if objective.coefficient.matrix else ()
    utility, log_reference = (
        np.broadcast_to(a, cells) for a in (of_cells(part, scores, binding), log_reference)
    )
    inside = np.isfinite(log_reference) if divergent else np.ones(cells, dtype=bool)
    if domain == "unconstrained":
        offset = np.zeros(cells[:-1])
    else:
        utility, offset = _centred(utility, inside)
    if members is not None:
        members = np.broadcast_to(members, (*cells, members.shape[-1]))
        members, other = _centred(members, inside[..., None], axis=(-2, -1))
        offset = objective.utility.lam * offset + (1 - objective.utility.lam) * other  # type: ignore[attr-defined]
    problem = Problem(
        objective=objective,
        utility=utility,
        members=members,
        offset=offset,
        metric=np.broadcast_to(cost, (*cells, *tail)),
        log_reference=log_reference,
        prompt_weights=prompt_weights,
        domain=domain,
    )
    _check_range(problem)
    return problem


def _centred(values: np.ndarray, inside: np.ndarray, axis: Any = -1) -> tuple[np.ndarray, Array]:
    """Values of a prompt less the largest inside, and that."""
    top = np.where(inside, values, -np.inf).max(axis, keepdims=True)
    with np.errstate(over="ignore"):
        return np.where(inside, values - top, 0.0), np.squeeze(top, axis)


def _check_range(problem: Problem) -> None:
    """Refuse utilities and prices so far apart that float64 overflows between them."""
    spread = max(float(np.abs(a).max(initial=0.0)) for a in (
        problem.utility, np.zeros(1) if problem.members is None else problem.members,
    ))  # fmt: skip
    if not spread <= WIDEST:
        raise checks.InputError(
            "scores", f"within {WIDEST:g} of each other on every prompt", f"{spread:g} apart",
            "divide them by a constant",
        )  # fmt: skip
    if problem.objective.coefficient.matrix:
        return
    strength = problem.objective.strength
    fixed = isinstance(strength, Penalty) and problem.objective.form != "norm"
    with np.errstate(over="ignore", under="ignore"):
        price = problem.metric * (strength.beta if fixed else 1.0)  # type: ignore[union-attr]
        least, most = float(price.min(initial=1.0)), float(price.max(initial=1.0))
        widest = max(most, spread if fixed else 0.0)
        held = least >= 1 / WIDEST and most <= WIDEST and widest / least <= WIDEST
    if not held:
        raise checks.InputError(
            "objective", f"of prices (beta times the coefficient) above {1 / WIDEST:g}, and above "
            f"that share of the largest price and of the range of the scores, {widest:g}",
            f"prices from {least:g} to {most:g}",
            "raise beta or sigma_min: float64 holds no smaller ones",
        )  # fmt: skip


def need_penalty(problem: Problem) -> Penalty:
    """The strength of a norm form, which comes with a multiplier only."""
    strength = problem.objective.strength
    if isinstance(strength, Penalty):
        return strength
    raise checks.InputError(
        "objective.strength", "a Penalty for the norm form", strength,
        "a bound on the norm is Budget(eps**2) of the quadratic form",
    )  # fmt: skip


def _check_reference(log_reference: Array, scores: Scores) -> None:
    values = to_numpy(log_reference)
    checks.broadcastable("scores.members", scores.members[..., 0], "log_reference", values)
    if not (values <= 0).all():
        raise checks.InputError(
            "log_reference", "log-probabilities (<= 0)",
            "NaN" if np.isnan(values).any() else f"a maximum of {values.max():g}",
            "pass np.log(reference)",
        )  # fmt: skip
    checks.probabilities("exp(log_reference)", np.exp(values))


def _check_strength(objective: Objective) -> None:
    strength = objective.strength
    if isinstance(strength, Budget):
        checks.finite("eps", strength.eps)
        if strength.eps < 0 and objective.form != "kl":
            raise checks.InputError(
                "eps", f">= 0 for form={objective.form!r}", strength.eps,
                "only the 'kl' form with a varying coefficient can be negative",
            )  # fmt: skip
