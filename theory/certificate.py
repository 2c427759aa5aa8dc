"""Optimality conditions, checked on the returned policy alone."""

import numpy as np

from theory.arrays import Array
from theory.penalties import Budget, Penalty
from theory.problem import Optimum, Problem

SOLVED = ("optimal", "slack", "optimal_inaccurate")
INTERIOR = 1e-6
"""Probabilities below this are noise of an interior-point solver, not part of its support."""


def kkt_residual(problem: Problem, optimum: Optimum) -> Array:
    """Largest relative violation of stationarity, sum to one and budget; one number a run.

    Stationarity is u - beta d penalty / d pi = nu where pi > 0 and <= nu where pi = 0 is a choice,
    relative to the largest |u - nu|. NaN for runs that were not solved, and for policy-level
    utilities whose member weights are not known.
    """
    if problem.mix is not None and optimum.member_weights is None:
        return np.full(problem.runs, np.nan)
    violation = np.maximum(_stationarity(problem, optimum), _off_simplex(problem, optimum))
    worst = np.maximum(violation.max(-1), _overspent(problem, optimum))
    return np.where(np.isin(optimum.status, SOLVED), worst, np.nan)


def _stationarity(problem: Problem, optimum: Optimum) -> Array:
    """Relative violation of each prompt."""
    u = problem.utility_at(optimum.member_weights)
    gap = u - np.asarray(optimum.nu)[..., None]
    price = np.broadcast_to(problem.per_cell(np.asarray(optimum.beta, dtype=float)), u.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        marginal = price * problem.marginal_penalty(optimum.policy, optimum.log_policy)
        slack = gap - np.where((price > 0) & np.isfinite(price), marginal, 0.0)
    support, allowed = _support(problem, optimum)
    slack = np.where(support, np.abs(slack), np.maximum(slack, 0.0)) * 1.0
    slack = np.where(allowed, slack, 0.0)
    scale = np.abs(np.where(allowed, gap, 0.0)).max(-1)
    scale = np.maximum(scale, np.abs(u).max(-1) * INTERIOR)
    moved = np.divide(slack.max(-1), scale, out=np.zeros_like(scale), where=scale > 0)
    return np.where(np.isinf(price[..., 0]), _staying(problem, optimum, gap), moved)


def _support(problem: Problem, optimum: Optimum) -> tuple[Array, Array]:
    """Where pi > 0, and where it may be."""
    if problem.domain != "simplex":
        everywhere = np.ones(problem.utility.shape, dtype=bool)
        return everywhere, everywhere
    allowed = np.isfinite(problem.log_reference) | (not problem.is_divergence)
    if optimum.method == "cvxpy":
        return optimum.policy > INTERIOR, allowed & (optimum.policy > INTERIOR)
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
