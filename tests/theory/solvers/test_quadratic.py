"""Exact quadratic solvers on the simplex: optimality conditions, CVXPY, limits, known numbers."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tolerance import EXACT, POLICY, ROUNDING, VALUE
from theory.checks import InputError
from theory.solvers.quadratic import (
    simplex_budget,
    simplex_budget_shared,
    simplex_norm,
    simplex_penalised,
)

THIRDS = np.ones(3) / 3


@st.composite
def problems(draw, rows=5):
    """Utilities with ties, weights over 16 decades, references with zeros; seeds shrink to 0."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 9))
    decades = draw(st.sampled_from([0.0, 1.0, 8.0]))
    utility = rng.normal(size=(rows, n)) * 10 ** draw(st.sampled_from([-6.0, 0.0, 6.0]))
    if draw(st.booleans()):
        utility[:, n // 2 :] = utility.max(-1, keepdims=True)
    weight = 10 ** rng.uniform(-decades, decades, (rows, n))
    reference = rng.dirichlet(np.full(n, 0.7), size=rows)
    if draw(st.booleans()):
        reference[reference < reference.max(-1, keepdims=True) / 3] = 0.0
    return utility, weight, reference / reference.sum(-1, keepdims=True)


def norm_squared(policy, weight, reference):
    return (weight * (policy - reference) ** 2).sum(-1)


def assert_optimal(solution, utility, weight, reference):
    """Feasibility and stationarity, relative to the utility range (or the largest price)."""
    policy, nu, beta = solution
    assert (policy >= 0).all()
    assert np.abs(policy.sum(-1) - 1).max() <= ROUNDING
    moved = np.isfinite(beta)
    np.testing.assert_array_equal(policy[~moved], reference[~moved])
    policy, nu, beta = policy[moved], nu[moved, None], beta[moved, None]
    pull = 2 * beta * weight[moved] * (policy - reference[moved])
    residual = utility[moved] - nu - pull
    residual = np.where(policy > 0, np.abs(residual), np.maximum(residual, 0))
    scale = np.ptp(utility[moved], axis=-1, keepdims=True) + 2 * beta * weight[moved]
    scale = scale + np.abs(utility[moved]) * EXACT
    assert (residual <= ROUNDING * scale).all()


@given(problems())
@settings(max_examples=80, deadline=None)
def test_penalised_is_optimal(problem):
    assert_optimal(simplex_penalised(*problem), *problem)


@given(problems(), st.floats(-10, 3))
@settings(max_examples=120, deadline=None)
def test_budget_is_optimal_and_spent(problem, log_eps):
    utility, weight, reference = problem
    eps = 10**log_eps
    solution = simplex_budget(*problem, eps)
    assert_optimal(solution, *problem)
    spent = norm_squared(solution.policy, weight, reference)
    assert (spent <= eps * (1 + VALUE)).all()
    binding = solution.beta > 0
    np.testing.assert_allclose(spent[binding], eps, rtol=VALUE)
    gap = utility.max(-1) - (solution.policy * utility).sum(-1)
    assert (gap[~binding] <= EXACT * np.abs(utility).max()).all()


@given(problems(), st.floats(-6, 6))
@settings(max_examples=60, deadline=None)
def test_norm_multiplier_is_beta_over_the_norm(problem, log_beta):
    _, weight, reference = problem
    beta = 10**log_beta
    solution = simplex_norm(*problem, beta)
    assert_optimal(solution, *problem)
    moved = np.isfinite(solution.beta)
    norm = np.sqrt(norm_squared(solution.policy, weight, reference))
    np.testing.assert_allclose(2 * solution.beta[moved] * norm[moved], beta, rtol=ROUNDING)


@pytest.mark.parametrize("seed", range(4))
def test_values_agree_with_cvxpy(seed):
    rng = np.random.default_rng(seed)
    n = 12
    utility, weight = rng.normal(size=n), rng.uniform(0.5, 5, n)
    reference = rng.dirichlet(np.full(n, 0.5))
    reference[:3] = 0
    reference /= reference.sum()
    policy = cp.Variable(n, nonneg=True)
    quadratic = cp.sum(cp.multiply(weight, cp.square(policy - reference)))
    norm = cp.norm(cp.multiply(np.sqrt(weight), policy - reference))
    cases = [
        (simplex_penalised(utility, weight, reference), utility @ policy - quadratic, []),
        (simplex_budget(utility, weight, reference, 0.4), utility @ policy, [quadratic <= 0.4]),
        (simplex_norm(utility, weight, reference, 0.5), utility @ policy - 0.5 * norm, []),
    ]
    for ours, objective, constraints in cases:
        problem = cp.Problem(cp.Maximize(objective), [cp.sum(policy) == 1, *constraints])
        problem.solve(solver=cp.CLARABEL)
        np.testing.assert_allclose(ours.policy, policy.value, atol=POLICY)
        policy.value = ours.policy
        assert abs(float(objective.value) - problem.value) <= VALUE


def test_shared_budget_agrees_with_cvxpy():
    rng = np.random.default_rng(0)
    utility, weight = rng.normal(size=(3, 5)), rng.uniform(0.5, 5, (3, 5))
    reference, prompts = rng.dirichlet(np.ones(5), size=3), np.array([0.2, 0.3, 0.5])
    ours = simplex_budget_shared(utility, weight, reference, 0.3, prompts)
    policy = cp.Variable((3, 5), nonneg=True)
    spent = prompts @ cp.sum(cp.multiply(weight, cp.square(policy - reference)), axis=1)
    gain = prompts @ cp.sum(cp.multiply(utility, policy), axis=1)
    problem = cp.Problem(cp.Maximize(gain), [cp.sum(policy, axis=1) == 1, spent <= 0.3])
    problem.solve(solver=cp.CLARABEL)
    assert abs(prompts @ (utility * ours.policy).sum(-1) - problem.value) <= VALUE
    assert np.ptp(ours.beta) == 0
    assert_optimal(ours, utility, weight, reference)
    used = prompts @ norm_squared(ours.policy, weight, reference)
    assert abs(used - 0.3) <= EXACT


def test_shared_budget_of_one_prompt_is_the_budget():
    utility, weight = np.array([[[1.0, 0.3, -1.0]]]), np.array([1.0, 2.0, 3.0])
    shared = simplex_budget_shared(utility, weight[None], THIRDS[None], 0.2)
    alone = simplex_budget(utility[0, 0], weight, THIRDS, 0.2)
    np.testing.assert_allclose(shared.policy[0, 0], alone.policy, atol=EXACT)


def test_batches_of_any_shape_equal_single_rows():
    rng = np.random.default_rng(1)
    utility, weight = rng.normal(size=(2, 3, 6)), rng.uniform(1, 9, 6)
    reference, eps = rng.dirichlet(np.ones(6)), rng.uniform(0.01, 3, (2, 3))
    together = simplex_budget(utility, weight, reference, eps)
    for row in np.ndindex(2, 3):
        alone = simplex_budget(utility[row], weight, reference, float(eps[row]))
        np.testing.assert_allclose(together.policy[row], alone.policy, atol=EXACT)


def test_zero_budget_stays_and_a_large_one_projects_on_the_greedy_face():
    utility, weight = np.array([1.0, 1.0, 0.0]), np.array([1.0, 3.0, 1.0])
    stay = simplex_budget(utility, weight, THIRDS, 0.0)
    np.testing.assert_array_equal(stay.policy, THIRDS)
    assert stay.beta == np.inf
    greedy = simplex_budget(utility, weight, THIRDS, 5.0)
    assert greedy.beta == 0
    np.testing.assert_allclose(greedy.policy, np.array([7, 5, 0]) / 12, atol=EXACT)


def test_constant_utility_stays():
    flat = np.full(3, 0.1)
    for solution in (
        simplex_penalised(flat, np.ones(3), THIRDS),
        simplex_budget(flat, np.ones(3), THIRDS, 0.5),
        simplex_norm(flat, np.ones(3), THIRDS, 0.1),
    ):
        np.testing.assert_allclose(solution.policy, THIRDS, atol=EXACT)


def test_zero_reference_does_not_force_zero_policy():
    solution = simplex_budget(np.array([1.0, 0.0]), np.ones(2), np.array([0.0, 1.0]), 0.08)
    np.testing.assert_allclose(solution.policy, [0.2, 0.8], atol=EXACT)


def test_norm_leaves_the_reference_below_the_dual_norm_only():
    utility = np.array([1.0, 0.0, -1.0])
    dual = np.sqrt(2.0)
    assert simplex_norm(utility, np.ones(3), THIRDS, dual * (1 + VALUE)).beta == np.inf
    assert np.isfinite(simplex_norm(utility, np.ones(3), THIRDS, dual * (1 - VALUE)).beta)
    # at a vertex only feasible directions count: the steepest gain per length is 2 / sqrt 2
    best_first = np.array([1.0, 0.0, 0.0])
    assert simplex_norm(-utility, np.ones(3), best_first, np.sqrt(2) * 0.99).beta < np.inf
    assert simplex_norm(utility, np.ones(3), best_first, VALUE).beta == np.inf


def test_naive_policies_of_the_three_arm_figure():
    """True return 2 of the reference, 1.184 of the naive and 2.162 of the aware policy."""
    truth, estimate = np.array([1.0, 2.0, 3.0]), np.array([3.6, 1.8, 2.8])
    naive = simplex_budget(estimate, np.ones(3), THIRDS, 0.5)
    assert round(float(truth @ naive.policy), 3) == 1.184
    variance = np.array([4.0, 0.09, 0.09])
    aware = simplex_budget(estimate, variance, THIRDS, 0.09 * 0.5)
    assert round(float(truth @ aware.policy), 3) == 2.162


def test_vertex_and_interior_of_the_simplex_counterexample():
    """r=(-.1,0,0), S=(1,1,.01), eps=1 [banerjee2024, Thm 3.3]: unaware is greedy, aware inside."""
    draws = np.array([-0.1, 0, 0]) + np.random.default_rng(0).normal(size=(500, 3)) * [1, 1, 0.1]
    unaware = simplex_budget(draws, np.ones(3), THIRDS, 1.0)
    aware = simplex_budget(draws, np.array([1.0, 1.0, 0.01]), THIRDS, 0.01)
    np.testing.assert_array_equal(unaware.policy.max(-1), 1.0)
    assert (aware.policy > 0).all()


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("utility", {"utility": np.array([np.nan, 0, 0])}),
        ("weight", {"weight": np.array([1.0, 0.0, 1.0])}),
        ("reference", {"reference": np.array([0.5, 0.5, 0.5])}),
        ("eps", {"eps": -1.0}),
        ("eps", {"eps": np.inf}),
    ],
)
def test_bad_input(argument, change):
    good = {"utility": np.arange(3.0), "weight": np.ones(3), "reference": THIRDS, "eps": 0.1}
    with pytest.raises(InputError, match=argument):
        simplex_budget(**(good | change))


def test_norm_needs_a_positive_beta():
    with pytest.raises(InputError, match="beta"):
        simplex_norm(np.arange(3.0), np.ones(3), THIRDS, 0.0)
