"""Scores, strengths and floors of any size: the answer is right, or it is refused."""

from dataclasses import fields, replace

import numpy as np
import pytest

from tests.laws import ALL, DIAGONAL, penalised
from tests.theory.exact import exact_quadratic, exact_tilt, extreme_row
from tests.tolerance import EXACT, POLICY, ROUNDING
from theory.binding import UNBOUND
from theory.certificate import PROMISED, kkt_residual, verdict
from theory.convex_route import convex_optimum
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


@pytest.mark.parametrize("name", ["safe", "covariance_aware"])
def test_all_mass_on_a_wrong_response_is_not_called_optimal(name):
    """Also where the solver is CVXPY, of which small probabilities are not taken at their word."""
    members = np.random.default_rng(3).normal(size=(1, 4, 5))
    problem = make_problem(
        penalised(name, 0.1), UNBOUND, np.log(np.ones((1, 4)) / 4), Scores(members),
        prompt_weights=None, domain="simplex",
    )  # fmt: skip
    found = convex_optimum(problem)
    assert verdict(problem, found, kkt_residual(problem, found)) == "optimal"
    worst = np.eye(4)[[members.mean(-1).argmin()]]
    with np.errstate(divide="ignore"):
        wrong = found._replace(policy=worst, log_policy=np.log(worst))
    assert verdict(problem, wrong, kkt_residual(problem, wrong)) == "inaccurate"


POWERS = {"temperature": 1, "tau": 1, "sigma_min": 1}
"""Of the unit of reward, in the parameters of utilities and coefficients."""
OF_PENALTY = {"Constant": 0, "Fisher": 0, "RelativeVariance": 0, "ExpertVariance": 0, "StdDev": 1,
              "Variance": 2, "Covariance": 2}  # fmt: skip
"""The same of penalties, by their coefficient."""

EACH_WAY = ("lcb", "variance_aware_theorem", "safe")
"""Presets that are solved in a way of their own."""


def converted(part, unit):
    """A utility or coefficient, for scores in another unit."""
    powers = {"lam": -1} if type(part).__name__ == "UWO" else POWERS
    named = {field.name for field in fields(part)} & set(powers)
    return replace(part, **{name: getattr(part, name) * unit ** powers[name] for name in named})


def in_units(objective, unit):
    """An objective that has the same optimum for scores in another unit."""
    power = OF_PENALTY[type(objective.coefficient).__name__]
    if objective.form == "norm":
        power /= 2
    return replace(
        objective, utility=converted(objective.utility, unit),
        coefficient=converted(objective.coefficient, unit),
        strength=Penalty(objective.strength.beta * unit ** (1 - power)),
    )  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in EACH_WAY else
                                               pytest.mark.slow) for name in ALL])  # fmt: skip
def test_the_unit_of_reward_is_of_no_consequence(name):
    """Of 1e-60 to 1e60, for all ways to solve, on problems that nobody chose."""
    rng = np.random.default_rng(5)
    for _ in range(INSTANCES):
        n, k, beta = int(rng.integers(1, 6)), int(rng.integers(3, 6)), 10 ** rng.uniform(-2, 1)
        members = rng.normal(size=(2, n, k))
        spread = np.exp(rng.normal(size=members.shape))
        log_reference = np.log(rng.dirichlet(np.ones(n), 2))
        unit = 10.0 ** int(rng.choice([-60, -12, -9, -6, -3, 3, 6, 9, 12, 60]))
        objective = penalised(name, float(beta))
        plain = solve(objective, log_reference, Scores(members, head_std=spread))
        scaled = Scores(members * unit, head_std=spread * unit)
        found = solve(in_units(objective, unit), log_reference, scaled)
        assert plain.status in ("optimal", "optimal_inaccurate")
        assert found.status == plain.status
        allowed = POLICY if plain.method == "cvxpy" else ROUNDING
        np.testing.assert_allclose(found.policy, plain.policy, atol=allowed)
