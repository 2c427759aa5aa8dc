"""Problems handed to CVXPY, one run at a time. CVXPY itself is imported on the first call."""

from typing import Any

import numpy as np

from theory import checks
from theory.certificate import INTERIOR
from theory.penalties import Budget, Penalty
from theory.problem import Optimum, Problem, need_penalty


def convex_optimum(problem: Problem) -> Optimum:
    """Solve each run (and each prompt, where it has a budget of its own) as a CVXPY program.

    Raises `InputError` for a target KL, which is not a convex program, and for combinations that
    `theory.solvers.convex` does not write down.
    """
    strength = problem.objective.strength
    if not isinstance(strength, Penalty | Budget):
        raise checks.InputError(
            "objective.strength", "Penalty or Budget for CVXPY", strength,
            "match a KL with a diagonal coefficient, or by a grid over beta",
        )  # fmt: skip
    alone = isinstance(strength, Budget) and strength.per_prompt
    shape = (*problem.runs, problem.utility.shape[-2]) if alone else problem.runs
    found = [_solve_one(problem, index, alone) for index in np.ndindex(shape)]
    cells = problem.utility.shape[-2:]
    missing = np.full(cells[1:] if alone else cells, np.nan)
    policy = np.array([missing if f.policy is None else f.policy.reshape(missing.shape)
                       for f in found]).reshape(problem.utility.shape)  # fmt: skip
    if problem.domain == "simplex":  # noise, which would be an infinite KL
        noise = (problem.reference == 0) & (policy < INTERIOR)
        policy = np.where(noise, 0.0, policy)
        policy = policy / policy.sum(-1, keepdims=True)
    beta = np.array([np.nan if f.beta is None else f.beta for f in found]).reshape(shape)
    if isinstance(strength, Penalty):
        beta = _multiplier(problem, strength.beta, policy)
    status = np.array([f.status for f in found]).reshape(problem.runs if not alone else shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_policy = np.log(policy)
        marginal = problem.marginal_penalty(policy, log_policy)
        price = problem.per_cell(beta)
        net = problem.utility - np.where(np.isfinite(price), price, 0.0) * marginal
    if problem.domain == "simplex":
        nu = (policy * np.where(policy > 0, net, 0.0)).sum(-1)
    else:
        nu = net.mean(-1) * (problem.domain == "sum_to_one")
    return Optimum(policy, log_policy, nu, beta, _of_run(status, alone), "cvxpy")


def _multiplier(problem: Problem, beta: float, policy: np.ndarray) -> np.ndarray:
    """beta of each run; of a norm, the beta of its square at the optimum of each prompt."""
    if problem.objective.form != "norm":
        return np.full(problem.runs, beta)
    with np.errstate(divide="ignore"):
        return beta / (2 * problem.penalty(policy, policy))


def _of_run(status: np.ndarray, alone: bool) -> np.ndarray:
    """A run is solved when all its prompts are."""
    if not alone:
        return status
    first_bad = (status != "optimal").argmax(-1)
    return np.take_along_axis(status, first_bad[..., None], -1)[..., 0]


def _solve_one(problem: Problem, index: tuple[int, ...], alone: bool) -> Any:
    from theory.solvers import convex

    def pick(array: np.ndarray) -> np.ndarray:
        return array[index][None] if alone else array[index]

    objective, strength = problem.objective, problem.objective.strength
    u, metric, log_reference = (
        pick(a) for a in (problem.utility, problem.metric, problem.log_reference)
    )
    weights = None if alone else problem.prompt_weights
    how: dict[str, Any] = {"prompt_weights": weights}
    if isinstance(strength, Penalty):
        how["beta"] = strength.beta
    elif isinstance(strength, Budget):
        how["eps"] = strength.eps
    if problem.mix is not None and problem.members is not None:
        return _mix(problem, index, how)
    if problem.is_divergence:
        return convex.weighted_divergence(u, metric, log_reference, objective.form, **how)
    if objective.form == "norm":
        need_penalty(problem)
        return convex.norm(u, metric, np.exp(log_reference), domain=problem.domain, **how)
    return convex.quadratic(u, metric, np.exp(log_reference), domain=problem.domain, **how)


def _mix(problem: Problem, index: tuple[int, ...], how: dict[str, Any]) -> Any:
    from theory.solvers import convex

    assert problem.mix is not None
    assert problem.members is not None
    if "beta" not in how or not problem.is_divergence:
        raise checks.InputError(
            "objective", "a penalised divergence for a policy-level mix in CVXPY",
            problem.objective,
        )  # fmt: skip
    return convex.member_mix(
        problem.utility[index], problem.members[index], problem.mix.lam, problem.metric[index],
        problem.log_reference[index], problem.objective.form,
        temperature=problem.mix.temperature, **how,
    )  # fmt: skip
