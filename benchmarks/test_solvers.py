"""Exact solvers against CVXPY + Clarabel on the same instances, in the same process.

Run with `OMP_NUM_THREADS=1 pytest benchmarks/test_solvers.py --benchmark-enable`. CVXPY is timed
with construction and solve together; both take turns, so that a busy machine slows both alike.
"""

import time

import cvxpy as cp
import numpy as np
import pytest

from tests.tolerance import ROUNDING, VALUE
from theory.divergences import divergence
from theory.solvers.quadratic import simplex_budget
from theory.solvers.weighted_kl import tilt

EPS, BETA, ROWS = 0.3, 0.1, 20_000


def instance(*shape):
    rng = np.random.default_rng(0)
    reference = rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])
    return rng.normal(size=shape), rng.uniform(3, 100, shape), reference


def cvxpy_budget(utility, weight, reference):
    policy = cp.Variable(len(utility), nonneg=True)
    spent = cp.sum_squares(cp.multiply(np.sqrt(weight), policy - reference))
    constraints = [cp.sum(policy) == 1, spent <= EPS]
    return cp.Problem(cp.Maximize(utility @ policy), constraints).solve(solver=cp.CLARABEL)


def cvxpy_divergence(form):
    def solve(utility, weight, reference):
        policy = cp.Variable(len(utility))
        divergence = cp.rel_entr(policy, reference)
        if form == "bregman":
            divergence = divergence - policy + reference
        objective = utility @ policy - BETA * weight @ divergence
        return cp.Problem(cp.Maximize(objective), [cp.sum(policy) == 1]).solve(solver=cp.CLARABEL)

    return solve


def seconds(solve, arguments, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        result = solve(*arguments)
    return (time.perf_counter() - start) / repeats, result


def compare(benchmark, ours, cvxpy_solve, arguments):
    """Time both in turns; store the median ratio; return our solution and the CVXPY value."""
    ratios = []
    for _ in range(9 if benchmark.enabled else 1):
        slow, value = seconds(cvxpy_solve, arguments, 1)
        fast, _ = seconds(ours, arguments, 50)
        ratios.append(slow / fast)
    benchmark.extra_info["times_faster"] = float(np.median(ratios))
    return benchmark.pedantic(ours, args=arguments, rounds=50, iterations=20), value


def rate(benchmark, ours, arguments):
    solution = benchmark.pedantic(ours, args=arguments, rounds=20, warmup_rounds=2)
    if benchmark.enabled:
        benchmark.extra_info["solves_per_second"] = ROWS / benchmark.stats.stats.median
    return solution


def budget(utility, weight, reference):
    return simplex_budget(utility, weight, reference, EPS)


def kkt_residual(solution, utility, weight, reference):
    pull = 2 * solution.beta[..., None] * weight * (solution.policy - reference)
    residual = utility - solution.nu[..., None] - pull
    residual = np.where(solution.policy > 0, np.abs(residual), np.maximum(residual, 0))
    return (residual.max(-1) / np.ptp(utility, axis=-1)).max()


def test_simplex_budget_of_1000_arms(benchmark):
    arguments = instance(1000)
    solution, value = compare(benchmark, budget, cvxpy_budget, arguments)
    assert abs(arguments[0] @ solution.policy - value) <= VALUE
    assert kkt_residual(solution, *arguments) <= ROUNDING
    if benchmark.enabled:
        assert benchmark.extra_info["times_faster"] >= 80


def test_simplex_budget_of_many_rows(benchmark):
    arguments = instance(ROWS, 8)
    solution = rate(benchmark, budget, arguments)
    assert kkt_residual(solution, *arguments) <= ROUNDING
    if benchmark.enabled:
        assert benchmark.extra_info["solves_per_second"] >= 50_000


@pytest.mark.parametrize("form", ["bregman", "kl"])
def test_divergence_of_1000_arms(benchmark, form):
    utility, weight, reference = arguments = instance(1000)
    log_reference = np.log(reference)

    def ours(utility, weight, _):
        return tilt(utility, BETA * weight, log_reference, form)

    solution, value = compare(benchmark, ours, cvxpy_divergence(form), arguments)
    spent = BETA * divergence(solution.log_policy, weight, log_reference, form)
    assert abs(utility @ np.exp(solution.log_policy) - spent - value) <= VALUE
    if benchmark.enabled:
        assert benchmark.extra_info["times_faster"] >= 150


@pytest.mark.parametrize("form", ["bregman", "kl"])
def test_divergence_of_many_rows(benchmark, form):
    utility, weight, reference = instance(ROWS, 8)
    log_policy, nu = rate(benchmark, tilt, (utility, BETA * weight, np.log(reference), form))
    ratio = log_policy - np.log(reference) + (form == "kl")
    residual = utility - nu[:, None] - BETA * weight * ratio
    assert np.abs(residual).max() <= ROUNDING
    if benchmark.enabled:
        assert benchmark.extra_info["solves_per_second"] >= 400_000
