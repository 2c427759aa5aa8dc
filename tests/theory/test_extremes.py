"""Scores, strengths and floors of any size: the answer is right, or it is refused."""

from dataclasses import replace

import numpy as np
import pytest

from tests.laws import DIAGONAL, penalised
from tests.theory.exact import exact_quadratic, exact_tilt, extreme_row
from tests.tolerance import EXACT, ROUNDING
from theory.binding import UNBOUND
from theory.certificate import PROMISED, kkt_residual, verdict
from theory.errors import InputError
from theory.objective import Objective
from theory.optimum import solve
from theory.penalties import Budget, Penalty, StdDev, TargetKL, Variance
from theory.presets import ensemble_mean, entropic, variance_aware, variance_aware_kl
from theory.problem import make_problem
from theory.routes import route
from theory.scores import Scores

INSTANCES = 60
UNIFORM = np.log(np.ones(3) / 3)


def drawn(rng, form):
    """One prompt whose utility and variances are known, of any scale."""
    utility, variance, log_reference = extreme_row(rng, int(rng.integers(1, 6)))
    variance = np.clip(variance, 1e-140, 1e140)
    scores = Scores(utility[:, None], known_variance=variance)
    return Objective(coefficient=Variance(1e-80), form=form), scores, log_reference


@pytest.mark.parametrize("form", ["bregman", "kl", "quadratic"])
def test_penalised_optima_are_exact_or_refused(form):
    rng, refused = np.random.default_rng(7), 0
    for _ in range(INSTANCES):
        objective, scores, log_reference = drawn(rng, form)
        beta = float(10.0 ** rng.choice([0, -12, -100, 12, 100]))
        try:
            found = solve(replace(objective, strength=Penalty(beta)), log_reference, scores)
        except InputError:
            refused += 1
            continue
        if found.status == "inaccurate":
            refused += 1
            continue
        utility, cost = scores.mean(), beta * scores.var()
        expected = (
            exact_quadratic(utility, cost, np.exp(log_reference))
            if form == "quadratic"
            else np.exp(exact_tilt(utility, cost, log_reference, form))
        )
        np.testing.assert_allclose(found.policy, expected, atol=ROUNDING)
        assert found.kkt_residual <= PROMISED
    assert refused < INSTANCES / 2


@pytest.mark.slow
@pytest.mark.parametrize("strength", [Budget(1e-300), Budget(1e-9), Budget(1e300), TargetKL(0.1),
                                      TargetKL(1e-12), TargetKL(1e3)], ids=str)  # fmt: skip
@pytest.mark.parametrize("form", ["bregman", "quadratic"])
def test_bound_optima_hold_their_bound_or_are_refused(form, strength):
    rng = np.random.default_rng(8)
    for _ in range(3 if isinstance(strength, TargetKL) else 10):
        objective, scores, log_reference = drawn(rng, form)
        try:
            found = solve(replace(objective, strength=strength), log_reference, scores)
        except InputError:
            continue
        if not found.solved:
            continue
        assert np.isfinite(found.policy).all()
        assert found.kkt_residual <= PROMISED
        if isinstance(strength, TargetKL) and found.status == "optimal":
            assert abs(found.kl - strength.kl) <= ROUNDING


@pytest.mark.parametrize("offset", [1e-9, 1e6, 1e9, 1e12])
@pytest.mark.parametrize("name", DIAGONAL)
def test_a_constant_costs_the_digits_that_the_sum_does_not_hold(name, offset):
    if name == "adaptive_experts":
        pytest.skip("it shrinks the mean itself, so that a constant matters")
    rng = np.random.default_rng(9)
    moved = Scores(rng.normal(size=(2, 4, 3)) + offset, head_std=np.ones((2, 4, 3)))
    log_reference = np.log(rng.dirichlet(np.ones(4), 2))
    back = Scores(moved.members - offset, head_std=moved.head_std)
    found = solve(penalised(name), log_reference, moved)
    assert found.status in ("optimal", "slack")
    expected = solve(penalised(name), log_reference, back)
    held = 256 * np.finfo(float).eps * offset  # means and spreads of the members round as often
    np.testing.assert_allclose(found.policy, expected.policy, atol=EXACT + held / 1e-3)


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: Penalty(1e-320), "beta"),
        (lambda: Penalty(5e-324), "beta"),
        (lambda: Penalty(1e300), "beta"),
        (lambda: Variance(sigma_min=1e-150), "sigma_min"),
        (lambda: StdDev(sigma_min=1e-320), "sigma_min"),
        (lambda: entropic(temperature=1e-310), "temperature"),
    ],
)
def test_what_float64_cannot_divide_by_is_refused(make, argument):
    with pytest.raises(InputError, match=argument):
        make()


def test_reported_corners():
    """Offsets of 1e9, costs of 1e-12 and 1e-14 at ties: digits that were lost without a word."""
    for offset in (0.0, 1e6, 1e9):
        scores = Scores.known(np.array([1.0, 0.0, 0.5]) + offset, np.array([1e-3, 1.0, 1.0]))
        found = solve(variance_aware(0.1), np.log([0.2, 0.3, 0.5]), scores)
        np.testing.assert_allclose(found.policy, [0.99662, 1.36e-5, 0.00337], atol=1e-5)
        assert found.kkt_residual <= PROMISED
    for beta in (1e-12, 1e-14):
        scores = Scores.known(np.array([1.0, 1.0, 0.5]), np.array([1.0, 2.0, 3.0]))
        found = solve(variance_aware_kl(beta), UNIFORM, scores).policy
        exact = exact_tilt(np.zeros(2), np.array([1.0, 4.0]), UNIFORM[:2], "kl")
        np.testing.assert_allclose(found[:2], np.exp(exact), atol=EXACT)


@pytest.mark.parametrize("name", DIAGONAL)
def test_tables_of_float32_are_solved_and_certified_in_float64(name):
    rng = np.random.default_rng(3)
    members = rng.normal(size=(2, 4, 3)).astype(np.float32)
    single = Scores(members, head_std=np.ones((2, 4, 3), np.float32))
    log_reference = np.log(rng.dirichlet(np.ones(4), 2))
    log_reference = log_reference.astype(np.float32)
    found = solve(penalised(name, 0.1), log_reference, single)
    assert found.kkt_residual <= PROMISED
    wide = Scores(members.astype(float), head_std=np.ones((2, 4, 3)))
    expected = solve(penalised(name, 0.1), log_reference, wide).policy
    np.testing.assert_allclose(found.policy, expected, atol=EXACT)


def test_a_certificate_can_fail():
    """An answer that is off by 1e-6 is not called optimal."""
    scores = Scores(np.array([[[1.0], [0.999], [0.5]]]) + 1e6)
    problem = make_problem(
        ensemble_mean(1e-3), UNBOUND, UNIFORM[None], scores, prompt_weights=None, domain="simplex"
    )
    found = route(problem)(problem)
    off = found.policy + 1e-6 * np.array([1.0, -1.0, 0.0])
    wrong = found._replace(policy=off, log_policy=np.log(off))
    assert verdict(problem, wrong, kkt_residual(problem, wrong)) == "inaccurate"
    assert verdict(problem, found, kkt_residual(problem, found)) == "optimal"
