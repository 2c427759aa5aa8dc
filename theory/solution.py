"""The exact optimum of an objective, with its certificate."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from theory.arrays import Array, like
from theory.certificate import SOLVED, kkt_residual, verdict
from theory.divergences import kl
from theory.errors import InputError, SolveError
from theory.objective import Objective
from theory.penalties import Budget, Penalty
from theory.problem import Optimum, Problem


@dataclass(frozen=True, eq=False)
class Solution:
    """Optimal policies of a population of runs, one entry a run in all diagnostics.

    `*batch` are the leading axes that the scores came with: (*runs, prompts) or () for one prompt.

    policy_or_nan:     (*batch, n) of the kind of the scores; NaN for runs that were not solved.
    log_policy_or_nan: its logarithm, exact where the policy underflows.
    status:            'optimal'; 'slack' (the strength does not bind: beta = 0, greedy);
                       'infeasible', 'unbounded', a status of CVXPY, or 'inaccurate': it was solved,
                       and does not hold what is promised of `kkt_residual`.
    method:            which solver: 'root finding', 'active set', 'closed form', 'dual', 'cvxpy'.
    expected_utility:  E_x E_pi[u].
    penalty:           E_x penalty, without beta.
    kl:                E_x KL(pi || pi0) in nats; NaN where the policy has negative entries.
    beta:              multiplier of the penalty (of its square for the norm form, inf at pi0);
                       one a prompt where every prompt has its own budget.
    nu:                (*batch) multiplier of the sum to one, in utility units.
    value:             what was maximised: E[u] - beta * penalty, or E[u] under a constraint.
    kkt_residual:      largest violation of the optimality conditions. On the simplex with a
                       diagonal metric it is in units of probability, and bounds the error of the
                       policy to first order; else it is relative to the largest |u - nu|. Where
                       `solved`, at most 1e-9, or 1e-2 by CVXPY (`theory.certificate`).
    member_weights:    (*runs, m) worst mixture of the members, for policy-level utilities.
    crossings:         (*runs, c) every beta seen at a target KL, the largest, which is `beta`,
                       first; NaN where other runs have more.
    """

    objective: Objective
    policy_or_nan: Array
    log_policy_or_nan: Array
    status: np.ndarray
    method: str
    expected_utility: np.ndarray
    penalty: np.ndarray
    kl: np.ndarray
    beta: np.ndarray
    nu: Array
    value: np.ndarray
    kkt_residual: np.ndarray
    member_weights: Array | None = field(default=None)
    crossings: np.ndarray | None = field(default=None)

    @property
    def solved(self) -> np.ndarray:
        """Which runs have a policy."""
        return np.isin(self.status, SOLVED)

    @property
    def policy(self) -> Array:
        """The policies; `SolveError` unless every run was solved."""
        self._require_solved()
        return self.policy_or_nan

    @property
    def log_policy(self) -> Array:
        """Their logarithms; `SolveError` unless every run was solved."""
        self._require_solved()
        return self.log_policy_or_nan

    def as_penalty(self) -> Objective:
        """The objective whose `Penalty` has this optimum, to evaluate or to train.

        Raises `InputError` unless there is one run with 0 < beta < inf.
        """
        if isinstance(self.objective.strength, Penalty):
            return self.objective
        if self.beta.shape != () or not 0 < self.beta < np.inf:
            raise InputError(
                "solution.beta", "one number in (0, inf)", self.beta, "take one run of a population"
            )
        return replace(self.objective, strength=Penalty(float(self.beta)))

    def _require_solved(self) -> None:
        failed = ~self.solved
        if failed.any():
            word = str(np.atleast_1d(self.status)[np.atleast_1d(failed)][0])
            least = np.atleast_1d(self.penalty)[np.atleast_1d(failed)][0]
            hint = (
                f"; the smallest attainable penalty is {least:.6g}"
                if word == "infeasible" and isinstance(self.objective.strength, Budget)
                else ""
            )
            raise SolveError(
                f"{int(failed.sum())} of {failed.size} runs have no policy: {word}{hint} "
                f"({self.objective}); see .status, or .policy_or_nan for the others"
            )


def certify(problem: Problem, optimum: Optimum, *, single_prompt: bool, kind: Any) -> Solution:
    """Evaluate an optimum and check its optimality conditions."""
    with np.errstate(all="ignore"):
        penalty = problem.prompt_mean(problem.penalty(optimum.policy, optimum.log_policy))
        expected = problem.expected_utility(optimum.policy)
        value = expected
        if isinstance(problem.objective.strength, Penalty):
            value = expected - problem.objective.strength.beta * penalty
        residual = kkt_residual(problem, optimum)
        distance = problem.prompt_mean(kl(optimum.log_policy, problem.log_reference))
        nu = np.broadcast_to(optimum.nu, problem.utility.shape[:-1]) + problem.offset
    if problem.domain != "simplex":
        distance = distance * np.nan
    if optimum.least_penalty is not None:
        penalty = np.where(np.isnan(penalty), optimum.least_penalty, penalty)

    def cells(array: np.ndarray) -> Array:
        return like(kind, array[..., 0, :] if single_prompt else array)

    return Solution(
        objective=problem.objective,
        policy_or_nan=cells(optimum.policy),
        log_policy_or_nan=cells(optimum.log_policy),
        status=verdict(problem, optimum, residual),
        method=optimum.method,
        expected_utility=np.asarray(expected),
        penalty=np.asarray(penalty),
        kl=np.asarray(distance),
        beta=np.asarray(optimum.beta),
        nu=like(kind, nu[..., 0] if single_prompt else nu),
        value=np.asarray(value),
        kkt_residual=np.asarray(residual),
        member_weights=(
            None if optimum.member_weights is None else like(kind, optimum.member_weights)
        ),
        crossings=None if optimum.crossings is None else np.asarray(optimum.crossings),
    )
