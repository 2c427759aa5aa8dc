"""Which solver answers which problem."""

from collections.abc import Callable
from typing import Any

import numpy as np

from theory import checks
from theory.arrays import Array
from theory.convex_route import convex_optimum
from theory.divergences import kl
from theory.penalties import Budget, Penalty, TargetKL
from theory.problem import Optimum, Problem, need_penalty
from theory.solvers import ellipsoid, quadratic
from theory.solvers.member_mix import Inner, InnerSolver, member_mix, tilted
from theory.solvers.roots import crossings, decreasing_root
from theory.solvers.weighted_kl import tilt
from theory.solvers.weighted_kl_strength import at_budget, at_kl

SCAN_POINTS = 128
"""Grid of ln beta on which a target KL is sought where no faster search is known."""
SMALLEST_BETA = 1e-5
"""Least beta of a policy-level search, relative to the range of the utility over the penalty's."""


def route(problem: Problem) -> Callable[[Problem], Optimum]:
    """The fastest exact solver of a problem; `convex_optimum` where there is no closed form."""
    if problem.mix is not None:
        return convex_optimum if problem.objective.form == "norm" or _full(problem) else mix_optimum
    if problem.is_divergence:
        return divergence_optimum
    if problem.domain != "simplex":
        return ellipsoid_optimum
    if _full(problem):
        return convex_optimum
    return norm_optimum if problem.objective.form == "norm" else simplex_optimum


def divergence_optimum(problem: Problem) -> Optimum:
    """Weighted KL and Bregman penalties."""
    strength, form = problem.objective.strength, problem.objective.form
    u, c, log_reference = problem.utility, problem.metric, problem.log_reference
    if isinstance(strength, Penalty):
        log_policy, nu = tilt(u, strength.beta * c, log_reference, form)
        beta = np.full(problem.runs, strength.beta)
        return _from_logs(log_policy, nu, beta, np.full(problem.runs, "optimal"))
    if isinstance(strength, TargetKL):
        at = at_kl(u, c, log_reference, form, strength.kl, problem.prompt_weights)
        found = _from_logs(at.log_policy, at.nu, at.beta, at.status)
        return found._replace(crossings=at.betas)
    rows = (u, c, log_reference)
    if not strength.per_prompt:
        spent = at_budget(*rows, form, strength.eps, problem.prompt_weights)
        found = _from_logs(spent.log_policy, spent.nu, spent.beta, spent.status)
    else:
        u, c, log_reference = (a[..., None, :] for a in rows)
        spent = at_budget(u, c, log_reference, form, strength.eps)
        logs, nu = spent.log_policy[..., 0, :], spent.nu[..., 0]
        found = _from_logs(logs, nu, spent.beta, _of_run(spent.status))
    least = spent.penalty.max(-1) if strength.per_prompt else spent.penalty
    return found._replace(least_penalty=least)


def simplex_optimum(problem: Problem) -> Optimum:
    """Quadratic form with a diagonal metric, pi >= 0."""
    strength = problem.objective.strength
    u, weight, reference = problem.utility, problem.metric, problem.reference

    def at(beta: Array) -> Optimum:
        cost = np.asarray(beta)[..., None, None] * weight
        found = quadratic.simplex_penalised(u, cost, reference)
        return _from_policy(found, beta, np.full(problem.runs, "optimal"))

    if isinstance(strength, Penalty):
        return at(np.full(problem.runs, strength.beta))
    if isinstance(strength, TargetKL):
        return _matched(problem, strength.kl, at)
    if strength.per_prompt:
        found = quadratic.simplex_budget(u, weight, reference, strength.eps)
        status = _of_run(np.where(found.beta > 0, "optimal", "slack"))
        return _from_policy(found, found.beta, status)
    found = quadratic.simplex_budget_shared(
        u, weight, reference, strength.eps, problem.prompt_weights
    )
    beta = found.beta[..., 0]
    return _from_policy(found, beta, np.where(beta > 0, "optimal", "slack"))


def norm_optimum(problem: Problem) -> Optimum:
    """Norm form with a diagonal metric, pi >= 0."""
    beta = need_penalty(problem).beta
    found = quadratic.simplex_norm(problem.utility, problem.metric, problem.reference, beta)
    return _from_policy(found, found.beta, np.full(problem.runs, "optimal"))


def ellipsoid_optimum(problem: Problem) -> Optimum:
    """Quadratic and norm forms on the whole (sum-to-one) space: pi may be negative."""
    equalities: Any = "sum" if problem.domain == "sum_to_one" else None
    strength, u, S = problem.objective.strength, problem.utility, problem.metric
    direction, squared = ellipsoid.steepest(u, S, equalities=equalities)
    if isinstance(strength, TargetKL):
        raise checks.InputError(
            "objective.strength", f"Penalty or Budget on the domain {problem.domain!r}", strength,
            "a policy with negative entries has no KL; use domain='simplex'",
        )  # fmt: skip
    status: Array = np.full(problem.runs, "optimal")
    if problem.objective.form == "norm":
        bounded = (np.sqrt(squared) <= need_penalty(problem).beta).all(-1)
        beta = np.where(bounded, np.inf, np.nan)
        displacement = np.where(bounded[..., None, None], 0.0, np.nan) * direction
        status = np.where(bounded, "optimal", "unbounded")
    elif isinstance(strength, Penalty):
        beta = np.full(problem.runs, strength.beta)
        displacement = direction / (2 * strength.beta)
    else:
        spent = squared if strength.per_prompt else problem.prompt_mean(squared)
        with np.errstate(divide="ignore", invalid="ignore"):
            beta = np.where(spent > 0, np.sqrt(spent / strength.eps) / 2, 0.0)
            step = np.where(beta > 0, 1 / (2 * beta), 0.0)
        shared = step[..., None] if strength.per_prompt else step[..., None, None]
        displacement = shared * direction
    policy = problem.reference + displacement
    marginal = problem.marginal_penalty(policy, policy)
    price = np.where(np.isfinite(beta), beta, 0.0)
    nu = (u - problem.per_cell(price) * marginal).mean(-1) if equalities else np.zeros(u.shape[:-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return Optimum(policy, np.log(policy), nu, beta, status, "closed form")


def mix_optimum(problem: Problem) -> Optimum:
    """Policy-level mixes of members: the dual for each beta, and a search over beta."""
    strength, mix, members = problem.objective.strength, problem.mix, problem.members
    assert mix is not None
    assert members is not None

    def at(beta: Array) -> Optimum:
        cost = np.asarray(beta)[..., None, None] * problem.metric
        inner = (
            tilted(cost, problem.log_reference, problem.objective.form)
            if problem.is_divergence
            else _quadratic_inner(cost, problem.reference)
        )
        found = member_mix(
            problem.utility, members, mix.lam, inner,
            temperature=mix.temperature, prompt_weights=problem.prompt_weights,
        )  # fmt: skip
        u = problem.utility_at(found.weights)
        marginal = problem.marginal_penalty(np.exp(found.log_policy), found.log_policy)
        inside = np.exp(found.log_policy) > 0
        net = np.where(inside, u - np.asarray(beta)[..., None, None] * marginal, 0.0)
        nu = (np.exp(found.log_policy) * net).sum(-1)
        status = np.full(problem.runs, "optimal")
        policy = np.exp(found.log_policy)
        return Optimum(policy, found.log_policy, nu, beta, status, "dual", found.weights)

    if isinstance(strength, Penalty):
        return at(np.full(problem.runs, strength.beta))
    if isinstance(strength, Budget):
        return _spent(problem, strength, at)
    price = problem.metric.reshape(-1)[0]
    if problem.is_divergence and (problem.metric == price).all():  # the penalty is the plain KL
        return _spent(problem, Budget(float(strength.kl * price)), at)
    return _matched(problem, strength.kl, at)


def _spent(problem: Problem, budget: Budget, at: Callable[[Array], Optimum]) -> Optimum:
    """The beta at which the penalty, which falls with beta, meets a shared budget."""
    if budget.per_prompt:
        raise checks.InputError(
            "per_prompt", "False for a policy-level utility", True, "its members are shared"
        )
    if budget.eps <= 0:
        raise checks.InputError("eps", "> 0 for a policy-level utility", budget.eps)

    def spent(found: Optimum) -> Array:
        return problem.prompt_mean(problem.penalty(found.policy, found.log_policy))

    def log_excess(log_beta: Array) -> tuple[Array, Array]:
        excess = np.maximum(spent(at(np.exp(log_beta))), 1e-300) / budget.eps
        return np.log(excess), np.full_like(excess, np.nan)

    low, high = _log_betas(problem, budget.eps)
    slack = spent(at(np.exp(low))) <= budget.eps
    log_beta = decreasing_root(
        log_excess, (low + high) / 2, low=low, high=np.where(slack, low, high)
    )
    found = at(np.exp(np.where(slack, low, log_beta)))
    return found._replace(status=np.where(slack, "slack", "optimal"))


def _matched(problem: Problem, target: float, at: Callable[[Array], Optimum]) -> Optimum:
    """The largest beta at which the plain KL meets `target`."""

    def reached(log_beta: Array) -> tuple[Array, Array]:
        distance = problem.prompt_mean(kl(at(np.exp(log_beta)).log_policy, problem.log_reference))
        return distance, np.full_like(distance, np.nan)

    grid = np.linspace(*_log_betas(problem, target), SCAN_POINTS)
    crossing = crossings(reached, target, grid)
    log_beta, far = crossing.x[..., 0], crossing.above
    found = ~np.isnan(log_beta)
    optimum = at(np.exp(np.where(found, log_beta, grid[0])))
    lost = (~found & far)[..., None, None]
    return optimum._replace(
        policy=np.where(lost, np.nan, optimum.policy),
        log_policy=np.where(lost, np.nan, optimum.log_policy),
        status=np.select([found, far], ["optimal", "infeasible"], "slack"),
        crossings=np.exp(crossing.x),
    )


def _log_betas(problem: Problem, target: float) -> tuple[Array, Array]:
    """ln beta from nearly greedy policies to ones well inside the target."""
    inside = np.isfinite(problem.log_reference)
    u = problem.utility if problem.members is None else problem.members.mean(-1)
    spread = np.ptp(u, axis=-1).max(-1)
    if problem.members is not None:
        spread = np.maximum(spread, np.ptp(problem.members, axis=-2).max((-1, -2)))
    spread = np.where(spread > 0, spread, 1.0)
    rarest = np.where(inside, problem.reference, 1.0).min((-1, -2))
    low = np.log(SMALLEST_BETA * spread / problem.metric.max((-1, -2)))
    reach = 1e3 / np.sqrt(np.minimum(target, 1.0) * rarest * u.shape[-1])
    return low, np.log(spread / problem.metric.min((-1, -2)) * reach)


def _quadratic_inner(cost: np.ndarray, reference: np.ndarray) -> InnerSolver:
    """Best policy of one utility under a diagonal quadratic penalty."""

    def solve(utility: np.ndarray) -> Inner:
        policy = quadratic.simplex_penalised(utility, cost, reference).policy
        value = (utility * policy - cost * (policy - reference) ** 2).sum(-1)
        with np.errstate(divide="ignore"):
            return Inner(value, np.log(policy), (policy > 0) / (2 * cost))

    return solve


def _of_run(statuses: Array) -> Array:
    """A run with a budget a prompt is as good as its worst prompt."""
    bad, binds = (statuses == "infeasible").any(-1), (statuses == "optimal").any(-1)
    return np.select([bad, binds], ["infeasible", "optimal"], "slack")


def _from_logs(log_policy: np.ndarray, nu: Array, beta: Array, status: Array) -> Optimum:
    return Optimum(np.exp(log_policy), log_policy, nu, beta, status, "root finding")


def _from_policy(found: quadratic.QuadraticOptimum, beta: Array, status: Any) -> Optimum:
    with np.errstate(divide="ignore"):
        log_policy = np.log(found.policy)
    return Optimum(found.policy, log_policy, found.nu, beta, np.asarray(status), "active set")


def _full(problem: Problem) -> bool:
    return problem.objective.coefficient.matrix
