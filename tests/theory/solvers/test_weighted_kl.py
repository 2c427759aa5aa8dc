"""Weighted KL and Bregman optima: optimality conditions, identities, published counterexamples."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theory.exact import exact_tilt, extreme_row
from tests.tolerance import EXACT, POLICY, ROUNDING, VALUE
from theory.arrays import logsumexp
from theory.checks import InputError
from theory.divergences import divergence
from theory.matching import matched_beta
from theory.solvers.roots import decreasing_root
from theory.solvers.weighted_kl import greedy, tilt
from theory.solvers.weighted_kl_strength import at_budget, at_kl, betas_at_kl

FORMS = ("bregman", "kl")
HALF = np.log([0.5, 0.5])
UNIFORM = np.log(np.ones((1, 3)) / 3)
NON_MONOTONE = np.array([[1.0, 0.95, 0.0]]), np.array([[5.0, 0.02, 1.0]]), UNIFORM


def logs(probabilities):
    with np.errstate(divide="ignore"):
        return np.log(probabilities)


@st.composite
def problems(draw, rows=5):
    """Utilities with ties, costs over up to 16 decades, references with zeros, n from 1."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 9))
    decades = draw(st.sampled_from([0.0, 1.0, 8.0]))
    utility = rng.normal(size=(rows, n)) * 10 ** draw(st.sampled_from([-3.0, 0.0, 3.0]))
    if draw(st.booleans()):
        utility[:, n // 2 :] = utility.max(-1, keepdims=True)
    cost = 10 ** rng.uniform(-decades, decades, (rows, n))
    reference = rng.dirichlet(np.full(n, 0.7), size=rows)
    if draw(st.booleans()):
        reference[reference < reference.max(-1, keepdims=True) / 3] = 0.0
    return utility, cost, logs(reference / reference.sum(-1, keepdims=True))


@pytest.mark.parametrize("form", FORMS)
@given(problem=problems())
@settings(max_examples=80, deadline=None)
def test_tilt_is_optimal(form, problem):
    utility, cost, log_reference = problem
    log_policy, nu = tilt(*problem, form)
    assert np.abs(logsumexp(log_policy)).max() <= EXACT
    inside = np.isfinite(log_reference)
    np.testing.assert_array_equal(log_policy == -np.inf, ~inside)
    ratio = np.where(inside, log_policy, 0) - np.where(inside, log_reference, 0)
    residual = np.abs(utility - nu[:, None] - cost * (ratio + (form == "kl")))
    size = np.abs(utility).max(-1, keepdims=True) + cost * (1 + np.abs(ratio))
    assert (residual <= ROUNDING * size)[inside].all()


@given(problems())
@settings(max_examples=60, deadline=None)
def test_kl_form_is_the_bregman_form_of_utility_minus_cost(problem):
    utility, cost, log_reference = problem
    kl, bregman = tilt(*problem, "kl"), tilt(utility - cost, cost, log_reference, "bregman")
    # utility - cost is rounded on one side only, by eps (|u| + c), which exponents divide by c
    rounding = np.finfo(float).eps * (np.abs(utility) + cost).max(-1) / cost.min(-1)
    apart = np.abs(np.exp(kl.log_policy) - np.exp(bregman.log_policy)).max(-1)
    assert (apart <= EXACT + 4 * rounding).all()
    policy, reference = np.exp(kl.log_policy), np.exp(log_reference)
    shift = (cost * (policy - reference)).sum(-1)
    both = [divergence(kl.log_policy, cost, log_reference, form) for form in FORMS]
    np.testing.assert_allclose(both[1], both[0] + shift, atol=ROUNDING * cost.max())


@given(problems())
@settings(max_examples=40, deadline=None)
def test_bregman_is_shift_invariant_and_anchored(problem):
    utility, cost, log_reference = problem
    shifted = tilt(utility + 3, cost, log_reference).log_policy
    moderate = cost.min() > VALUE
    if moderate:
        difference = np.exp(shifted) - np.exp(tilt(*problem).log_policy)
        assert np.abs(difference).max() <= VALUE
    still = tilt(np.zeros_like(utility), cost, log_reference).log_policy
    np.testing.assert_allclose(np.exp(still), np.exp(log_reference), atol=EXACT)
    assert (divergence(shifted, cost, log_reference, "bregman") >= -EXACT * cost.max()).all()


def test_constant_cost_is_the_softmax_tilt():
    rng = np.random.default_rng(0)
    utility, log_reference = rng.normal(size=(4, 6)), np.log(rng.dirichlet(np.ones(6), size=4))
    expected = log_reference + utility / 0.3
    expected -= logsumexp(expected, keepdims=True)
    for form in FORMS:
        policy = tilt(utility, 0.3, log_reference, form).log_policy
        np.testing.assert_allclose(policy, expected, atol=EXACT)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_value_agrees_with_cvxpy(form, seed):
    rng = np.random.default_rng(seed)
    utility, cost = rng.normal(size=8), rng.uniform(0.2, 3, 8)
    reference = rng.dirichlet(np.ones(8))
    policy = cp.Variable(8)
    terms = cp.rel_entr(policy, reference)
    if form == "bregman":
        terms = terms - policy + reference
    problem = cp.Problem(cp.Maximize((utility @ policy) - cost @ terms), [cp.sum(policy) == 1])
    problem.solve(solver=cp.CLARABEL)
    ours = tilt(utility, cost, np.log(reference), form)
    value = utility @ np.exp(ours.log_policy) - divergence(
        ours.log_policy, cost, np.log(reference), form
    )
    assert abs(value - problem.value) <= VALUE
    np.testing.assert_allclose(np.exp(ours.log_policy), policy.value, atol=POLICY)


def test_optimal_value_is_nu_plus_the_expected_cost():
    """Penalised counterexample to [banerjee2024, Thm 3.6]: (.32669, .67331), value .68247."""
    utility, cost = np.array([1.0, 0.0]), np.array([4.0, 1.0])
    log_policy, nu = tilt(utility, cost, HALF, "kl")
    policy = np.exp(log_policy)
    np.testing.assert_array_equal(policy.round(5), [0.32669, 0.67331])
    value = float(utility @ policy - divergence(log_policy, cost, HALF, "kl"))
    assert round(value, 5) == 0.68247
    assert abs(value - (nu + policy @ cost)) <= EXACT


def test_free_arms_take_what_the_charged_arms_leave():
    log_policy, nu = tilt(np.array([1.0, 2, 2, 0]), np.array([1.0, 0, 0, 3]), np.log([0.25] * 4))
    policy = np.exp(log_policy)
    charged = 0.25 * np.exp(np.array([-1.0, -2 / 3]))
    np.testing.assert_allclose(policy[[0, 3]], charged, atol=EXACT)
    np.testing.assert_allclose(policy[[1, 2]], (1 - charged.sum()) / 2, atol=EXACT)
    assert nu == 2
    unused = tilt(np.array([1.0, -9.0]), np.array([1.0, 0.0]), HALF).log_policy
    np.testing.assert_array_equal(unused, [0, -np.inf])
    all_free = tilt(np.array([1.0, 2.0, 2.0]), 0.0, logs([0.2, 0.0, 0.8])).log_policy
    np.testing.assert_allclose(np.exp(all_free), [0, 0, 1], atol=EXACT)


def test_free_arm_is_the_limit_of_small_costs():
    utility, reference = np.array([0.3, 0.1, 0.5]), np.log([0.3, 0.3, 0.4])
    free = tilt(utility, np.array([1.0, 2.0, 0.0]), reference).log_policy
    nearly = tilt(utility, np.array([1.0, 2.0, ROUNDING]), reference).log_policy
    np.testing.assert_allclose(np.exp(free), np.exp(nearly), atol=VALUE)


@pytest.mark.parametrize(
    ("utility", "coefficient", "eps", "decimals", "expected"),
    [
        ((-1.0, -2.0), (1.0, 10.0), 0.05, 3, -1.019),
        ((1.0, 0.9, 0.0), (4.0, 0.25, 1.0), 0.1, 5, 0.9329),
    ],
)
def test_budget_counterexamples(utility, coefficient, eps, decimals, expected):
    utility, n = np.array([utility]), len(utility)
    uniform = np.log(np.ones((1, n)) / n)
    solution = at_budget(utility, np.array([coefficient]), uniform, "kl", eps)
    gain = float((utility * np.exp(solution.log_policy)).sum())
    assert round(gain, decimals) == expected
    assert solution.status == "optimal"


@pytest.mark.parametrize(
    ("coefficient", "least"),
    [((4.0, 1.0), -0.38997), ((10.0, 1.0), -1.4606), ((100.0, 1.0), -17.996)],
)
def test_kl_penalty_minimum_is_negative_and_reported(coefficient, least):
    cost = np.array([coefficient])
    lowest = at_budget(np.array([[1.0, 0.0]]), cost, HALF[None], "kl", -100.0)
    assert lowest.status == "infeasible"
    assert np.isnan(lowest.log_policy).all()
    assert abs(lowest.penalty - least) <= abs(least) * 1e-4
    reached = at_budget(np.array([[1.0, 0.0]]), cost, HALF[None], "kl", lowest.penalty)
    assert reached.beta == np.inf
    assert divergence(reached.log_policy, cost, HALF[None], "kl") == lowest.penalty


def test_kl_penalty_minimiser():
    policy = np.exp(tilt(np.zeros(2), np.array([4.0, 1.0]), HALF, "kl").log_policy)
    np.testing.assert_array_equal(policy.round(3), [0.26, 0.74])


@pytest.mark.parametrize("form", FORMS)
@given(problem=problems(rows=3), share=st.floats(0.01, 0.99))
@settings(max_examples=40, deadline=None)
def test_budget_binds_between_least_and_greedy(form, problem, share):
    utility, coefficient, log_reference = problem
    top = divergence(greedy(*problem, form), coefficient, log_reference, form).mean()
    bottom = tilt(np.zeros_like(utility), coefficient, log_reference, form).log_policy
    least = divergence(bottom, coefficient, log_reference, form).mean() if form == "kl" else 0.0
    eps = least + share * (top - least)
    solution = at_budget(*problem, form, float(eps))
    scale = coefficient.max()
    if top - least > ROUNDING * scale:
        assert solution.status == "optimal"
        assert abs(solution.penalty - eps) <= ROUNDING * scale
        at_beta = tilt(utility, solution.beta * coefficient, log_reference, form)
        np.testing.assert_allclose(
            np.exp(solution.log_policy), np.exp(at_beta.log_policy), atol=EXACT
        )
    over = at_budget(*problem, form, float(top + scale))
    assert (over.status, over.beta) == ("slack", 0)


def test_greedy_penalty_is_the_end_of_the_bregman_range():
    """S_k ln(1/pi0_k) + sum_y S_y (pi0_y - 1[y = k]) for the arm k of largest utility."""
    reference, cost = np.array([0.2, 0.5, 0.3]), np.array([2.0, 1.0, 4.0])
    limit = greedy(np.array([1.0, 0.0, 0.5]), cost, np.log(reference), "bregman")
    expected = 2 * np.log(5) + cost @ (reference - [1, 0, 0])
    assert abs(divergence(limit, cost, np.log(reference), "bregman") - expected) <= EXACT


@pytest.mark.parametrize("form", FORMS)
def test_greedy_ties_take_the_least_penalty(form):
    cost, reference = np.array([4.0, 1.0, 1.0]), np.log([0.3, 0.3, 0.4])
    limit = greedy(np.array([1.0, 1.0, 0.0]), cost, reference, form)
    share = np.linspace(0.001, 0.999, 999)
    others = logs(np.stack([share, 1 - share, 0 * share], -1))
    least = divergence(others, cost, reference, form).min()
    assert least - VALUE <= divergence(limit, cost, reference, form) <= least + EXACT


def test_zero_bregman_budget_stays():
    solution = at_budget(np.array([[1.0, 0.0]]), np.array([[4.0, 1.0]]), HALF[None], "bregman", 0.0)
    assert (solution.beta, solution.status) == (np.inf, "optimal")
    np.testing.assert_allclose(solution.log_policy, HALF[None], atol=EXACT)


def test_runs_are_solved_together_with_one_beta_over_weighted_prompts():
    rng = np.random.default_rng(3)
    utility, coefficient = rng.normal(size=(4, 3, 5)), rng.uniform(0.2, 3, (4, 3, 5))
    log_reference = np.log(rng.dirichlet(np.ones(5), size=(4, 3)))
    eps, weights = np.array([0.05, 0.2, -9.0, 50.0]), np.array([1.0, 2.0, 5.0])
    solution = at_budget(utility, coefficient, log_reference, "kl", eps, weights)
    assert solution.status.tolist() == ["optimal", "optimal", "infeasible", "slack"]
    spent = divergence(solution.log_policy, coefficient, log_reference, "kl") @ weights / 8
    np.testing.assert_allclose(spent[:2], eps[:2], atol=ROUNDING)
    policy = cp.Variable((3, 5))
    ratio = cp.rel_entr(policy, np.exp(log_reference[1]))
    gain, cost = (
        weights @ cp.sum(cp.multiply(factor, term), axis=1) / 8
        for factor, term in ((utility[1], policy), (coefficient[1], ratio))
    )
    problem = cp.Problem(cp.Maximize(gain), [cp.sum(policy, axis=1) == 1, cost <= 0.2])
    problem.solve(solver=cp.CLARABEL)
    ours = weights @ (utility[1] * np.exp(solution.log_policy[1])).sum(-1) / 8
    assert abs(ours - problem.value) <= VALUE


def test_plain_kl_is_not_monotone():
    utility, coefficient, log_reference = NON_MONOTONE
    divergences = [
        float(
            divergence(
                tilt(utility, b * coefficient, log_reference).log_policy,
                np.ones(3),
                log_reference,
                "kl",
            )[0]
        )
        for b in (0.03, 0.1, 0.3)
    ]
    assert [round(d, 4) for d in divergences] == [0.4078, 0.4397, 0.3854]


def test_all_betas_at_a_kl():
    utility, coefficient, log_reference = NON_MONOTONE
    betas = betas_at_kl(*NON_MONOTONE, "bregman", 0.42)
    assert len(betas) == 3
    assert betas == sorted(betas)
    gains = []
    for beta in betas:
        log_policy = tilt(utility, beta * coefficient, log_reference).log_policy
        assert abs(divergence(log_policy, np.ones(3), log_reference, "kl")[0] - 0.42) <= ROUNDING
        gains.append((utility * np.exp(log_policy)).sum())
    assert gains == sorted(gains, reverse=True)
    chosen = at_kl(*NON_MONOTONE, "bregman", 0.42)
    np.testing.assert_allclose(chosen.betas, betas[::-1], rtol=EXACT)
    assert chosen.beta == chosen.betas[0]


@given(seed=st.integers(0, 2**32 - 1), kl=st.floats(1e-6, 0.5))
@settings(max_examples=40, deadline=None)
def test_constant_coefficient_has_one_root(seed, kl):
    rng = np.random.default_rng(seed)
    utility, log_reference = rng.normal(size=(2, 3, 5)), np.log(np.full((2, 3, 5), 0.2))
    coefficient = rng.uniform(0.1, 10, (2, 3, 1))
    solution = at_kl(utility, coefficient, log_reference, "kl", kl)
    assert solution.betas.shape == (2, 1)
    np.testing.assert_allclose(solution.kl, kl, rtol=VALUE)
    again = tilt(utility, solution.beta[:, None, None] * coefficient, log_reference, "kl")
    np.testing.assert_allclose(np.exp(again.log_policy), np.exp(solution.log_policy), atol=EXACT)


@pytest.mark.parametrize("form", ["bregman", "kl"])
def test_the_largest_beta_at_a_kl_is_the_one_that_a_scan_finds(form):
    """100 problems whose costs differ by up to four orders, which makes the KL wavy in beta."""
    rng, one = np.random.default_rng(0), np.ones(6)
    utility, log_reference = rng.normal(size=(100, 1, 6)), np.log(rng.dirichlet(one, (100, 1)))
    coefficient = 10 ** rng.uniform(-2, 2, (100, 1, 6))

    def reached(beta):
        found = tilt(utility, beta[:, None, None] * coefficient, log_reference, form)
        return divergence(found.log_policy, one, log_reference, "kl")[:, 0]

    kl = reached(10 ** rng.uniform(-1, 1, 100))
    chosen = at_kl(utility, coefficient, log_reference, form, kl)
    assert (chosen.status == "optimal").all()
    np.testing.assert_array_equal(chosen.beta, np.nanmax(chosen.betas, axis=-1))
    assert (np.isfinite(chosen.betas).sum(-1) > 1).any()
    for beta in chosen.betas.T:
        there = np.where(np.isfinite(beta), reached(np.nan_to_num(beta, nan=1.0)), kl)
        np.testing.assert_allclose(there, kl, rtol=ROUNDING)
    scan = np.geomspace(0.9, 1e4, 200)
    far = np.stack([reached(step * chosen.beta) for step in scan])
    for beta, distances, target in zip(chosen.beta, far.T, kl, strict=True):
        beyond = distances[scan > 1.05] > target
        assert beyond.all() or not beyond.any()
        if not beyond.any() and distances[0] > target:
            found = matched_beta(scan * beta, distances, float(target))
            assert found == pytest.approx(float(beta), rel=0.05)


def test_kl_out_of_reach():
    assert at_kl(*NON_MONOTONE, "bregman", 3.0).status == "slack"
    assert at_kl(*NON_MONOTONE, "bregman", 3.0).beta == 0
    too_near = at_kl(*NON_MONOTONE, "kl", ROUNDING)
    assert too_near.status == "infeasible"
    assert np.isnan(too_near.log_policy).all()
    assert betas_at_kl(*NON_MONOTONE, "kl", ROUNDING) == []


def test_root_finder_handles_flat_and_steep_rows():
    target = np.array([1e-6, 1.0, 1e6])
    root = decreasing_root(lambda x: (1 - np.exp(x) / target, 0 * x), np.zeros(3))
    np.testing.assert_allclose(np.exp(root), target, rtol=ROUNDING)


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("utility", (np.array([np.nan, 0]), np.ones(2), HALF, "kl")),
        ("cost", (np.zeros(2), np.array([-1.0, 1.0]), HALF, "kl")),
        ("cost", (np.zeros(2), np.array([np.inf, 1.0]), HALF, "kl")),
        ("form", (np.zeros(2), np.ones(2), HALF, "bregmann")),
    ],
)
def test_bad_input_of_tilt(argument, arguments):
    with pytest.raises(InputError, match=argument):
        tilt(*arguments)


def test_bad_strengths():
    utility, cost = np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]])
    with pytest.raises(InputError, match="eps"):
        at_budget(utility, cost, HALF[None], "kl", np.nan)
    with pytest.raises(InputError, match="kl"):
        at_kl(utility, cost, HALF[None], "kl", 0.0)
    with pytest.raises(InputError, match="coefficient"):
        at_kl(utility, cost, HALF[None], "kl", 0.1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(5))
def test_rows_of_any_scale_are_those_of_four_hundred_digits(form, seed):
    """25 rows each: ties, offsets to 1e12, costs 28 orders apart or near 1e120, zeros."""
    rng = np.random.default_rng(seed)
    for _ in range(25):
        row = extreme_row(rng, int(rng.integers(1, 6)))
        found = np.exp(tilt(*row, form).log_policy)
        np.testing.assert_allclose(found, np.exp(exact_tilt(*row, form)), atol=EXACT)


@pytest.mark.parametrize("offset", [1e6, 1e9, 1e12, -1e9])
def test_an_offset_of_the_utilities_costs_no_digit_that_it_leaves(offset):
    """The sum is rounded once, when it is made; the optimum is that of what is left."""
    utility, cost = np.array([1.0, 0.0, 0.5]) + offset, 0.1 * np.array([1e-6, 1.0, 1.0])
    uniform = np.log(np.ones(3) / 3)
    expected = tilt(utility - offset, cost, uniform).log_policy
    np.testing.assert_allclose(tilt(utility, cost, uniform).log_policy, expected, rtol=EXACT)


@pytest.mark.parametrize("beta", [1e-4, 1e-8, 1e-12, 1e-14, 1e-100])
def test_ties_at_small_costs_are_shared_by_their_costs(beta):
    """pi_i = pi0_i exp(t / c_i - 1) on the ties, with one t > 0, whatever beta is."""
    utility, cost = np.array([1.0, 1.0, 0.5]), beta * np.array([1.0, 2.0, 3.0])
    found = tilt(utility, cost, np.log(np.ones(3) / 3), "kl")
    exact = exact_tilt(np.zeros(2), np.array([1.0, 2.0]), np.log([1 / 3, 1 / 3]), "kl")
    np.testing.assert_allclose(np.exp(found.log_policy[:2]), np.exp(exact), atol=EXACT)


@pytest.mark.parametrize(
    ("utility", "cost"),
    [
        (np.array([0.0, 1.0]), np.array([1e-300, 1.0])),
        (np.array([0.0, 1.0]), np.array([5e-324, 5e-324])),
        (np.array([-1e308, 1e308]), np.ones(2)),
        (np.array([0.0, 1.0]), np.array([1e300, 1.0])),
    ],
)
def test_what_float64_does_not_hold_is_refused(utility, cost):
    with pytest.raises(InputError, match=r"cost.*float64"):
        tilt(utility, cost, HALF)
