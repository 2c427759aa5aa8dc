"""Closed forms on an ellipsoid: CVXPY, exact laws of Thm 3.3, calibration, degenerate cases."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tolerance import EXACT, ROUNDING, VALUE
from theory.checks import InputError
from theory.solvers import ellipsoid

EQUALITIES = {"sum": "sum", "free": None, "prompts": ellipsoid.prompt_sums(2, 3)}


def rows(name):
    return {"sum": np.ones((1, 6)), "free": np.zeros((0, 6))}.get(name, EQUALITIES["prompts"])


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    factor = rng.normal(size=(6, 8))
    return rng.normal(size=6), factor @ factor.T + 0.1 * np.eye(6)


@pytest.mark.parametrize("name", EQUALITIES)
@given(problem=problems(), eps=st.floats(1e-6, 1e3))
@settings(max_examples=40, deadline=None)
def test_budget_satisfies_the_optimality_conditions(name, problem, eps):
    utility, covariance = problem
    d, beta, gain = ellipsoid.budget(utility, covariance, eps, equalities=EQUALITIES[name])
    equality = rows(name)
    assert np.abs(equality @ d).max(initial=0) <= ROUNDING * np.sqrt(eps)
    np.testing.assert_allclose(d @ covariance @ d, eps, rtol=ROUNDING)
    residual = utility - 2 * beta * covariance @ d
    multipliers = np.linalg.lstsq(equality.T, residual)[0]
    assert np.abs(residual - equality.T @ multipliers).max() <= ROUNDING
    np.testing.assert_allclose(gain, utility @ d, rtol=ROUNDING)
    again = ellipsoid.penalised(utility, covariance, float(beta), equalities=EQUALITIES[name])
    np.testing.assert_allclose(again.d, d, atol=ROUNDING * np.sqrt(eps))


@pytest.mark.parametrize("name", EQUALITIES)
def test_budget_agrees_with_cvxpy(name):
    rng = np.random.default_rng(0)
    utility, variance = rng.normal(size=6), rng.uniform(0.5, 4, 6)
    d = cp.Variable(6)
    spent = cp.sum(cp.multiply(variance, cp.square(d)))
    constraints = [spent <= 0.3] + [row @ d == 0 for row in rows(name)]
    problem = cp.Problem(cp.Maximize(utility @ d), constraints)
    problem.solve(solver=cp.CLARABEL)
    ours = ellipsoid.budget(utility, variance, 0.3, equalities=EQUALITIES[name])
    assert abs(ours.gain - problem.value) <= VALUE


@given(problems())
@settings(max_examples=20, deadline=None)
def test_direction_is_the_basis_formula(problem):
    """M = B (B'S B)^-1 B'."""
    utility, covariance = problem
    basis = np.linalg.qr(np.column_stack([np.ones(6), np.eye(6)[:, :5]]))[0][:, 1:]
    matrix = basis @ np.linalg.inv(basis.T @ covariance @ basis) @ basis.T
    direction, squared = ellipsoid.steepest(utility, covariance)
    np.testing.assert_allclose(direction, matrix @ utility, atol=ROUNDING)
    np.testing.assert_allclose(squared, utility @ matrix @ utility, rtol=ROUNDING)


def test_diagonal_matrix_and_batches_agree():
    rng = np.random.default_rng(1)
    utility, variance = rng.normal(size=(4, 5)), rng.uniform(1, 9, 5)
    diagonal = ellipsoid.budget(utility, variance, 0.2).d
    matrix = ellipsoid.budget(utility, np.diag(variance)[None], 0.2).d
    np.testing.assert_allclose(matrix, diagonal, atol=EXACT)
    alone = ellipsoid.budget(utility[2], variance, 0.2).d
    np.testing.assert_allclose(alone, diagonal[2], atol=EXACT)


def test_prompt_blocks_decouple_up_to_the_shared_step():
    rng = np.random.default_rng(2)
    utility, variance = rng.normal(size=6), rng.uniform(1, 9, 6)
    joint, _ = ellipsoid.steepest(utility, variance, equalities=ellipsoid.prompt_sums(2, 3))
    separate, _ = ellipsoid.steepest(utility.reshape(2, 3), variance.reshape(2, 3))
    np.testing.assert_allclose(joint.reshape(2, 3), separate, atol=EXACT)


@pytest.mark.parametrize("utility", [np.zeros(3), np.full(3, 0.7), np.full(3, 1e9)])
def test_no_gradient_means_no_step(utility):
    solution = ellipsoid.budget(utility, np.array([1.0, 2.0, 3.0]), 0.5)
    np.testing.assert_array_equal(solution.d, 0)
    assert ellipsoid.budget(np.array([2.0]), np.ones(1), 0.5).d == 0


def test_norm_form_is_degenerate_on_a_linear_space():
    utility, covariance = np.array([1.0, 0.0, -1.0]), np.ones(3)
    dual = np.sqrt(2.0)
    assert ellipsoid.norm_value(utility, covariance, dual * (1 + VALUE)) == 0
    assert ellipsoid.norm_value(utility, covariance, dual * (1 - VALUE)) == np.inf


@given(problems(), st.floats(0, 10))
@settings(max_examples=40, deadline=None)
def test_worst_case_is_attained_and_below_every_reward_of_the_ellipsoid(problem, radius):
    utility, covariance = problem
    rng = np.random.default_rng(0)
    d = rng.normal(size=6)
    value, reward = ellipsoid.worst_case(d, utility, covariance, radius)
    np.testing.assert_allclose(d @ reward, value, atol=ROUNDING * (1 + radius))
    error = reward - utility
    np.testing.assert_allclose(
        np.sqrt(error @ np.linalg.solve(covariance, error)), radius, atol=ROUNDING * (1 + radius)
    )
    sphere = rng.normal(size=(50, 6))
    sphere /= np.linalg.norm(sphere, axis=-1, keepdims=True)
    others = utility + radius * sphere @ np.linalg.cholesky(covariance).T
    assert (others @ d >= value - ROUNDING * (1 + radius)).all()


def test_worst_case_of_staying_is_zero():
    value, reward = ellipsoid.worst_case(np.zeros(2), np.ones(2), np.ones(2), 3.0)
    assert value == 0
    np.testing.assert_array_equal(reward, np.ones(2))


@given(problems(), st.floats(1e-6, 1e3))
@settings(max_examples=30, deadline=None)
def test_calibrated_ellipsoid_is_inscribed_and_touches(problem, eps):
    _, covariance = problem
    printed = ellipsoid.calibrated_eps(covariance, eps)
    subspace = ellipsoid.calibrated_eps(covariance, eps, equalities="sum")
    assert subspace >= printed * (1 - ROUNDING)
    values, vectors = np.linalg.eigh(covariance)
    longest = np.sqrt(printed / values[0]) * vectors[:, 0]
    np.testing.assert_allclose(longest @ longest, eps, rtol=ROUNDING)
    rng = np.random.default_rng(0)
    d = rng.normal(size=(200, 6))
    d -= d.mean(-1, keepdims=True)
    d *= np.sqrt(subspace / np.einsum("...i,ij,...j", d, covariance, d))[:, None]
    assert ((d**2).sum(-1) <= eps * (1 + ROUNDING)).all()


def test_calibration_without_freedom_is_zero():
    assert ellipsoid.calibrated_eps(np.ones(1), 0.3, equalities="sum") == 0


def test_sum_to_one_policies_of_the_three_arm_figure():
    """True returns 1.802 (unaware), 2.197 (aware at lambda_min eps), reference 2."""
    truth, estimate = np.array([1.0, 2.0, 3.0]), np.array([3.6, 1.8, 2.8])
    variance = np.array([4.0, 0.09, 0.09])
    unaware = ellipsoid.budget(estimate, np.ones(3), 0.1).d
    aware = ellipsoid.budget(estimate, variance, ellipsoid.calibrated_eps(variance, 0.1)).d
    assert [round(float(truth @ d) + 2, 3) for d in (unaware, aware)] == [1.802, 2.197]


def test_small_unaware_budget_is_the_simplex_solution():
    """Positivity cannot bind below min(pi0)^2 n / (n - 1)."""
    from theory.solvers.quadratic import simplex_budget

    reference = np.array([0.2, 0.3, 0.5])
    eps = 0.2**2 * 3 / 2
    for utility in np.random.default_rng(0).normal(size=(50, 3)):
        closed = reference + ellipsoid.budget(utility, np.ones(3), eps).d
        np.testing.assert_allclose(
            simplex_budget(utility, np.ones(3), reference, eps).policy, closed, atol=EXACT
        )


@pytest.mark.parametrize(
    "covariance",
    [np.diag([1.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0]), np.eye(2), np.triu(np.ones((3, 3)))],
)
def test_bad_covariance(covariance):
    with pytest.raises(InputError):
        ellipsoid.budget(np.arange(3.0), covariance, 0.1)


def test_bad_strengths():
    with pytest.raises(InputError, match="eps"):
        ellipsoid.budget(np.arange(3.0), np.ones(3), -0.1)
    with pytest.raises(InputError, match="beta"):
        ellipsoid.penalised(np.arange(3.0), np.ones(3), 0.0)
    with pytest.raises(InputError, match="utility"):
        ellipsoid.steepest(np.array([np.inf, 0.0]), np.ones(2))
