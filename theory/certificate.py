"""Optimality conditions, checked on the returned policy alone."""

import numpy as np

from theory.arrays import Array
from theory.mixes import PolicyWorstMix
from theory.penalties import Budget, Penalty
from theory.problem import Optimum, Problem
from theory.solvers.member_mix import robust_mean
from theory.solvers.weighted_kl import NEGLIGIBLE

SOLVED = ("optimal", "slack", "optimal_inaccurate")
INTERIOR = 1e-6
"""Probabilities below this are noise of an interior-point solver, not part of its support."""
PROMISED = 1e-9
"""Largest residual of an 'optimal' or 'slack' answer of the project's own solvers."""
PROMISED_CVXPY = 1e-2
"""The same of CVXPY, whose multipliers are right to about 1e-4 of the largest."""


def kkt_residual(problem: Problem, optimum: Optimum) -> Array:
    """Largest violation of stationarity, sum to one, budget and worst members; one number a run.

    Stationarity is u - beta d penalty / d pi = nu where pi > 0 and <= nu where pi = 0 is a choice.
    On the simplex with a diagonal metric its violation is divided by the curvature of the penalty:
    it is how far a probability is from the one that its own condition asks for, so that a small
    residual bounds the error of the policy, whatever the units are. It is evaluated against the
    arm with mass that is cheapest to move, where nothing cancels. Elsewhere (CVXPY, matrices, other
    domains, beta = 0) it is relative to the largest |u - nu|. A budget may be exceeded relative to
    it or to the price of moving 1e-6 of the mass; members are the worst up to a share of the
    range of the scores. NaN for runs that were not solved, and for policy-level utilities whose
    member weights are not known.
    """
    if problem.mix is not None and optimum.member_weights is None:
        return np.full(problem.runs, np.nan)
    violation = np.maximum(_stationarity(problem, optimum), _off_simplex(problem, optimum))
    worst = np.maximum(violation.max(-1), _overspent(problem, optimum))
    worst = np.maximum(worst, _mildness(problem, optimum))
    return np.where(np.isin(optimum.status, SOLVED), worst, np.nan)


def verdict(problem: Problem, optimum: Optimum, residual: Array) -> Array:
    """Return the status, 'inaccurate' where a residual that is known breaks what is promised."""
    status = np.asarray(optimum.status)
    unknown = problem.mix is not None and optimum.member_weights is None
    allowed = PROMISED_CVXPY if optimum.method == "cvxpy" else PROMISED
    broken = np.isin(status, SOLVED) & ~(np.asarray(residual) <= allowed) & (not unknown)
    return np.where(broken, "inaccurate", status)


def _stationarity(problem: Problem, optimum: Optimum) -> Array:
    """Violation of each prompt."""
    u = problem.utility_at(optimum.member_weights)
    price = np.broadcast_to(problem.per_cell(np.asarray(optimum.beta, dtype=float)), u.shape)
    moving = np.isfinite(price) & (price > 0)
    marginal = np.where(moving, price, 0.0) * problem.marginal_penalty(
        optimum.policy, optimum.log_policy
    )
    gap = u - np.asarray(optimum.nu)[..., None]
    relative = _relative(problem, optimum, gap - np.where(moving, marginal, 0.0), gap)
    away = _staying(problem, optimum, gap)
    if problem.objective.form == "norm" and optimum.method == "cvxpy":  # beside the kink at pi0
        relative = np.minimum(relative, away)
    diagonal = problem.domain == "simplex" and not problem.objective.coefficient.matrix
    if diagonal and optimum.method != "cvxpy":
        displaced = _displacement(problem, optimum, u, marginal, price)
        relative = np.where(moving[..., 0], displaced, relative)
    return np.where(np.isinf(price[..., 0]), away, relative)


def _displacement(
    problem: Problem, optimum: Optimum, u: np.ndarray, marginal: np.ndarray, price: np.ndarray
) -> Array:
    """How far each probability is from what its own condition asks for, the largest of a prompt."""
    policy, cost = optimum.policy, price * problem.metric
    ease = policy / cost if problem.is_divergence else 0.5 / cost
    support = policy > (NEGLIGIBLE if problem.is_divergence else 0.0)
    cheapest = np.where(support, 1 / problem.metric, 0.0).argmax(-1)[..., None]

    def apart(values: np.ndarray) -> Array:
        return values - np.take_along_axis(values, cheapest, -1)

    slack = (apart(u) - apart(np.where(support, marginal, 0.0))) * ease
    if problem.is_divergence:
        return np.abs(np.where(support, slack, 0.0)).max(-1)
    zero = (apart(u) - marginal + np.take_along_axis(marginal, cheapest, -1)) * ease
    return np.where(support, np.abs(slack), np.maximum(zero, 0.0)).max(-1)


def _relative(problem: Problem, optimum: Optimum, slack: np.ndarray, gap: np.ndarray) -> Array:
    """Violation relative to the largest |u - nu|."""
    support, allowed = _support(problem, optimum)
    slack = np.where(support, np.abs(slack), np.maximum(slack, 0.0))
    slack = np.where(allowed, slack, 0.0)
    scale = np.abs(np.where(allowed, gap, 0.0)).max(-1)
    scale = np.maximum(scale, np.abs(problem.utility).max(-1) * INTERIOR)
    return np.divide(slack.max(-1), scale, out=np.zeros_like(scale), where=scale > 0)


def _support(problem: Problem, optimum: Optimum) -> tuple[Array, Array]:
    """Where pi > 0, and where it may be."""
    if problem.domain != "simplex":
        everywhere = np.ones(problem.utility.shape, dtype=bool)
        return everywhere, everywhere
    allowed = np.isfinite(problem.log_reference) | (not problem.is_divergence)
    if optimum.method == "cvxpy":
        support = optimum.policy > INTERIOR
        return support, allowed & (support | (not problem.is_divergence))
    return np.isfinite(optimum.log_policy), allowed


def _staying(problem: Problem, optimum: Optimum, gap: np.ndarray) -> Array:
    """At pi = pi0 (beta = inf): how far pi0 is missed, and for a norm, whether leaving it pays.

    Leaving never pays where the dual norm of u - nu over the directions that pi0 allows is at
    most beta of the norm.
    """
    missed = np.abs(optimum.policy - problem.reference).max(-1)
    strength = problem.objective.strength
    if problem.objective.form != "norm" or not isinstance(strength, Penalty):
        return missed
    if problem.objective.coefficient.matrix:
        ease = np.linalg.solve(problem.metric, np.ones_like(gap)[..., None])[..., 0]
        if problem.domain != "unconstrained":  # nu of the smallest dual norm
            gap = gap - (ease * gap).sum(-1, keepdims=True) / ease.sum(-1, keepdims=True)
        squared = np.linalg.solve(problem.metric, gap[..., None])[..., 0] * gap
    else:
        inward = np.where((problem.reference > 0) | (problem.domain != "simplex"), gap, gap.clip(0))
        squared = inward**2 / problem.metric
    return np.maximum(missed, np.sqrt(squared.sum(-1)) / strength.beta - 1)


def _off_simplex(problem: Problem, optimum: Optimum) -> Array:
    total = np.abs(optimum.policy.sum(-1) - 1)
    return total * 0.0 if problem.domain == "unconstrained" else total


def _overspent(problem: Problem, optimum: Optimum) -> Array:
    """Excess over a budget, relative to it and to the price of moving 1e-6 of the mass."""
    strength = problem.objective.strength
    if not isinstance(strength, Budget):
        return np.zeros(problem.runs)
    spent = problem.penalty(optimum.policy, optimum.log_policy)
    spent = spent.max(-1) if strength.per_prompt else problem.prompt_mean(spent)
    least = INTERIOR * np.abs(problem.metric).reshape(*problem.runs, -1).max(-1)
    return np.maximum(spent - strength.eps, 0.0) / np.maximum(abs(strength.eps), least)


def _mildness(problem: Problem, optimum: Optimum) -> Array:
    """By how much worse members exist than those weighed, as a share of the range of the scores."""
    mix = problem.mix
    if mix is None or problem.members is None or optimum.member_weights is None:
        return np.zeros(problem.runs)
    weights, members = np.asarray(optimum.member_weights), problem.members
    returns = problem.prompt_mean(np.moveaxis((optimum.policy[..., None] * members).sum(-2), -1, 0))
    returns = np.moveaxis(returns, 0, -1)
    weighed = (weights * returns).sum(-1) + _divergence(mix, weights)
    spread = np.ptp(members, axis=(-2, -1)).max(-1)
    gap = (1 - mix.lam) * (weighed - robust_mean(returns, mix.temperature))
    return np.divide(gap, spread, out=np.zeros_like(spread), where=spread > 0)


def _divergence(mix: PolicyWorstMix, weights: np.ndarray) -> Array:
    """t KL(w | uniform)."""
    if np.isinf(mix.temperature) or mix.temperature == 0:
        return np.zeros(weights.shape[:-1])
    logs = np.log(np.where(weights > 0, weights * weights.shape[-1], 1.0))
    return mix.temperature * (weights * logs).sum(-1)
