"""The CVXPY problems: agreement with closed forms, multipliers, failure as a status."""

import importlib.util
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tolerance import EXACT, POLICY, ROUNDING, VALUE
from theory.checks import InputError
from theory.divergences import divergence as penalty_of
from theory.solvers import convex
from theory.solvers.quadratic import simplex_penalised
from theory.solvers.weighted_kl import tilt

FORMS = ("bregman", "kl")
HALF = np.log([[0.5, 0.5]])
REWARDS, COSTS = np.array([[1.0, 0.0]]), np.array([[4.0, 1.0]])
seeds = st.integers(0, 2**32 - 1)


class Draw:
    """Three prompts of five responses, one response without reference mass."""

    def __init__(self, seed, prompts=3, n=5):
        rng = np.random.default_rng(seed)
        self.utility = rng.normal(size=(prompts, n))
        self.coefficient = np.exp(0.5 * rng.normal(size=(prompts, n)))
        self.reference = rng.dirichlet(np.full(n, 2.0), size=prompts)
        self.reference[0, :-1] /= self.reference[0, :-1].sum()
        self.reference[0, -1] = 0.0
        with np.errstate(divide="ignore"):
            self.log_reference = np.log(self.reference)
        root = rng.normal(size=(prompts, n, n))
        self.matrices = root @ np.swapaxes(root, -1, -2) + np.eye(n)
        self.rho = rng.dirichlet(np.full(prompts, 5.0))


@settings(max_examples=10, deadline=None)
@given(seed=seeds, form=st.sampled_from(FORMS), beta=st.sampled_from([0.2, 1.0, 5.0]))
def test_penalised_divergence_is_the_tilt(seed, form, beta):
    draw = Draw(seed)
    found = convex.weighted_divergence(
        draw.utility,
        draw.coefficient,
        draw.log_reference,
        form,
        beta=beta,
        prompt_weights=draw.rho,
    )
    log_policy = tilt(draw.utility, beta * draw.coefficient, draw.log_reference, form).log_policy
    cost = penalty_of(log_policy, draw.coefficient, draw.log_reference, form)
    exact = draw.rho @ ((np.exp(log_policy) * draw.utility).sum(-1) - beta * cost)
    assert found.status == "optimal"
    assert found.beta is None
    assert abs(found.value - exact) < VALUE
    assert np.abs(found.policy - np.exp(log_policy)).max() < POLICY
    assert found.policy[0, -1] < VALUE


@settings(max_examples=10, deadline=None)
@given(seed=seeds, form=st.sampled_from(FORMS), beta=st.sampled_from([0.5, 2.0]))
def test_budget_recovers_the_multiplier(seed, form, beta):
    draw = Draw(seed)
    log_policy = tilt(draw.utility, beta * draw.coefficient, draw.log_reference, form).log_policy
    eps = float(draw.rho @ penalty_of(log_policy, draw.coefficient, draw.log_reference, form))
    found = convex.weighted_divergence(
        draw.utility, draw.coefficient, draw.log_reference, form, eps=eps, prompt_weights=draw.rho
    )
    assert abs(found.value - draw.rho @ (np.exp(log_policy) * draw.utility).sum(-1)) < VALUE
    assert np.abs(found.policy - np.exp(log_policy)).max() < POLICY
    assert abs(found.beta / beta - 1) < POLICY


@settings(max_examples=5, deadline=None)
@given(seed=seeds, form=st.sampled_from(FORMS))
def test_permuting_responses_permutes_the_policy(seed, form):
    draw = Draw(seed)
    order = np.random.default_rng(seed).permutation(5)
    arrays = draw.utility, draw.coefficient, draw.log_reference
    plain = convex.weighted_divergence(*arrays, form, beta=1.0)
    moved = convex.weighted_divergence(*(a[:, order] for a in arrays), form, beta=1.0)
    assert abs(plain.value - moved.value) < VALUE
    assert np.abs(plain.policy[:, order] - moved.policy).max() < POLICY


def test_two_and_three_arm_numbers():
    found = convex.weighted_divergence(REWARDS, COSTS, HALF, "kl", beta=1.0)
    assert abs(found.value - 0.68247) < POLICY
    assert np.abs(found.policy - [0.32669, 0.67331]).max() < POLICY
    uniform = np.log(np.ones((1, 3)) / 3)
    rewards, costs = np.array([[1.0, 0.9, 0.0]]), np.array([[4.0, 0.25, 1.0]])
    found = convex.weighted_divergence(rewards, costs, uniform, "kl", eps=0.1)
    assert abs(found.value - 0.93290) < POLICY


def test_tied_utilities_stay_at_the_reference_under_bregman():
    found = convex.weighted_divergence(np.ones((1, 2)), COSTS, HALF, "bregman", beta=0.1)
    assert np.abs(found.policy - 0.5).max() < POLICY
    assert abs(found.value - 1) < VALUE


@pytest.mark.parametrize(("form", "eps"), [("kl", -0.40), ("bregman", -0.01)])
def test_infeasible_budget_has_a_status_and_no_policy(form, eps):
    found = convex.weighted_divergence(REWARDS, COSTS, HALF, form, eps=eps)
    assert found.policy is None
    assert found.beta is None
    assert found.value == -np.inf
    assert found.status == "infeasible"


def test_negative_budget_of_the_kl_form_can_be_feasible():
    found = convex.weighted_divergence(REWARDS, COSTS, HALF, "kl", eps=-0.38)
    assert found.status == "optimal"
    assert found.policy[0, 0] > 0.26


def test_value_stays_finite_where_the_solver_leaves_negative_probabilities(monkeypatch):
    rng = np.random.default_rng(0)
    utility, log_reference = rng.normal(size=(2, 6)), np.log(rng.dirichlet(np.ones(6), size=2))
    honest = convex.cp.Problem.solve

    def inaccurate(problem, **options):
        honest(problem, **options)
        (pi,) = problem.variables()
        pi.save_value(pi.value - ROUNDING)

    monkeypatch.setattr(convex.cp.Problem, "solve", inaccurate)
    found = convex.weighted_divergence(utility, np.ones((2, 6)), log_reference, "kl", beta=0.01)
    exact = tilt(utility, 0.01, log_reference, "kl")
    assert (found.policy >= 0).all()
    assert np.abs(found.policy.sum(-1) - 1).max() < EXACT
    assert abs(found.value - (exact.nu + 0.01).mean()) < VALUE


def test_failure_of_the_solver_is_a_status(monkeypatch):
    def fail(*args, **options):
        raise convex.cp.error.SolverError

    monkeypatch.setattr(convex.cp.Problem, "solve", fail)
    found = convex.weighted_divergence(REWARDS, COSTS, HALF, "kl", beta=1.0)
    assert found.policy is None
    assert np.isnan(found.value)
    assert found.status == "solver_error"


@settings(max_examples=8, deadline=None)
@given(seed=seeds, beta=st.sampled_from([0.3, 2.0]))
def test_quadratic_on_the_simplex(seed, beta):
    draw = Draw(seed)
    exact = simplex_penalised(draw.utility, beta * draw.coefficient, draw.reference).policy
    diagonal = draw.coefficient[..., None] * np.eye(5)
    for metric in (draw.coefficient, diagonal):
        found = convex.quadratic(draw.utility, metric, draw.reference, beta=beta)
        assert np.abs(found.policy - exact).max() < POLICY
        distance = (draw.coefficient * (exact - draw.reference) ** 2).sum(-1)
        value = ((exact * draw.utility).sum(-1) - beta * distance).mean()
        assert abs(found.value - value) < VALUE


@settings(max_examples=8, deadline=None)
@given(seed=seeds, domain=st.sampled_from(["sum_to_one", "unconstrained"]))
def test_quadratic_on_linear_domains(seed, domain):
    draw = Draw(seed)
    inverse = np.linalg.inv(draw.matrices)
    if domain == "sum_to_one":
        columns = inverse.sum(-1, keepdims=True)
        inverse = inverse - columns * np.swapaxes(columns, -1, -2) / columns.sum(-2, keepdims=True)
    step = np.einsum("xij,xj->xi", inverse, draw.utility)
    gain = (step * draw.utility).sum(-1).mean()
    penalised = convex.quadratic(
        draw.utility, draw.matrices, draw.reference, beta=0.7, domain=domain
    )
    assert np.abs(penalised.policy - draw.reference - step / 1.4).max() < POLICY
    budget = convex.quadratic(draw.utility, draw.matrices, draw.reference, eps=0.3, domain=domain)
    exact = draw.reference + np.sqrt(0.3 / gain) * step
    assert np.abs(budget.policy - exact).max() < POLICY
    assert abs(budget.value - (exact * draw.utility).sum(-1).mean()) < VALUE
    assert abs(budget.beta / (np.sqrt(gain / 0.3) / 2) - 1) < POLICY


@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_norm_penalty_traces_the_budget_path(seed):
    draw = Draw(seed, prompts=1)
    found = convex.norm(draw.utility, draw.matrices, draw.reference, 0.2)
    step = (found.policy - draw.reference)[0]
    eps = float(step @ draw.matrices[0] @ step)
    budget = convex.quadratic(draw.utility, draw.matrices, draw.reference, eps=eps)
    gain = float((found.policy * draw.utility).sum())
    assert abs(found.value - (gain - 0.2 * np.sqrt(eps))) < ROUNDING
    assert abs(budget.value - gain) < VALUE


@pytest.mark.parametrize("domain", ["sum_to_one", "unconstrained"])
def test_norm_on_a_linear_domain_is_degenerate(domain):
    metric, reference = np.ones((1, 2)), np.array([[0.5, 0.5]])
    unbounded = convex.norm(REWARDS, metric, reference, 0.5, domain)
    assert unbounded.policy is None
    assert unbounded.value == np.inf
    assert unbounded.status == "unbounded"
    still = convex.norm(REWARDS, metric, reference, 2.0, domain)
    assert abs(still.value - 0.5) < VALUE
    assert np.abs(still.policy - 0.5).max() < POLICY


@pytest.mark.parametrize(
    ("beta", "policy"), [(1.0, (0.768, 0.232)), (0.3, (0.5, 0.5)), (0.05, (0.5, 0.5))]
)
def test_member_mix_two_arm_numbers(beta, policy):
    found = convex.member_mix(
        np.zeros((1, 2)),
        np.eye(2)[None],
        0.0,
        np.ones((1, 2)),
        np.log([[0.9, 0.1]]),
        "kl",
        beta,
    )
    assert np.abs(found.policy - policy).max() < POLICY


@pytest.mark.parametrize("temperature", [0.0, 0.5, np.inf])
def test_member_mix_special_cases(temperature):
    draw = Draw(3)
    members = np.random.default_rng(3).normal(size=(3, 5, 4))
    same = np.repeat(members[..., :1], 4, axis=-1)
    fixed = draw.coefficient, draw.log_reference, "bregman"

    def mix(opponents, lam):
        return convex.member_mix(draw.utility, opponents, lam, *fixed, 0.5, temperature=temperature)

    def single(utility):
        return convex.weighted_divergence(utility, *fixed, beta=0.5)

    assert abs(mix(members, 1.0).value - single(draw.utility).value) < VALUE
    mixed = 0.3 * draw.utility + 0.7 * members[..., 0]
    assert abs(mix(same, 0.3).value - single(mixed).value) < VALUE
    assert abs(mix(members[..., ::-1], 0.3).value - mix(members, 0.3).value) < VALUE
    if np.isinf(temperature):
        mean = 0.3 * draw.utility + 0.7 * members.mean(-1)
        assert abs(mix(members, 0.3).value - single(mean).value) < VALUE


def divergence(**changes):
    arguments = {
        "utility": REWARDS,
        "coefficient": COSTS,
        "log_reference": HALF,
        "form": "kl",
        "beta": 1.0,
    }
    return convex.weighted_divergence(**(arguments | changes))


def quadratic(**changes):
    arguments = {"utility": REWARDS, "metric": COSTS, "reference": np.exp(HALF), "beta": 1.0}
    return convex.quadratic(**(arguments | changes))


def mix(**changes):
    arguments = {
        "nominal": REWARDS,
        "members": np.zeros((1, 2, 3)),
        "lam": 0.5,
        "coefficient": COSTS,
        "log_reference": HALF,
        "form": "kl",
        "beta": 1.0,
    }
    return convex.member_mix(**(arguments | changes))


@pytest.mark.parametrize(
    ("call", "changes", "message"),
    [
        (divergence, {"coefficient": np.ones((1, 3))}, r"`coefficient`.*\(1, 2\).*\(1, 3\)"),
        (divergence, {"log_reference": np.zeros((2, 1))}, r"`log_reference`.*\(1, 2\).*\(2, 1\)"),
        (divergence, {"utility": np.array([[np.nan, 0.0]])}, "`utility`.*finite"),
        (divergence, {"coefficient": np.array([[np.nan, 1.0]])}, "`coefficient`.*finite"),
        (divergence, {"coefficient": np.array([[0.0, 1.0]])}, "`coefficient`.*> 0"),
        (divergence, {"log_reference": np.log([[0.5, 0.1]])}, "log_reference.*sum"),
        (divergence, {"form": "renyi"}, "`form`"),
        (divergence, {"beta": 0.0}, "`beta`.*> 0"),
        (divergence, {"beta": -1.0}, "`beta`.*> 0"),
        (divergence, {"beta": np.nan}, "`beta`.*finite"),
        (divergence, {"beta": None, "eps": np.nan}, "`eps`.*finite"),
        (divergence, {"beta": None}, "exactly one"),
        (divergence, {"eps": 1.0}, "exactly one"),
        (divergence, {"prompt_weights": np.ones(2) / 2}, r"`prompt_weights`.*\(1,\).*\(2,\)"),
        (quadratic, {"metric": np.ones((1, 2, 3))}, r"`metric`.*\(1, 2, 2\).*\(1, 2, 3\)"),
        (quadratic, {"metric": np.array([[np.nan, 1.0]])}, "`metric`.*finite"),
        (quadratic, {"metric": np.array([[-1.0, 1.0]])}, "`metric`.*positive semidefinite"),
        (quadratic, {"reference": np.ones((1, 2))}, "`reference`.*sum"),
        (quadratic, {"domain": "simplx"}, "`domain`.*simplex"),
        (mix, {"members": np.zeros((1, 3, 2))}, r"`members`.*\(1, 2\).*\(1, 3, 2\)"),
        (mix, {"lam": 1.5}, "`lam`"),
        (mix, {"temperature": -1.0}, "`temperature`"),
        (mix, {"beta": 0.0}, "`beta`"),
    ],
)
@pytest.mark.usefixtures("without_shape_annotations")
def test_bad_input(call, changes, message):
    with pytest.raises(InputError, match=message):
        call(**changes)


def test_missing_cvxpy_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    spec = importlib.util.spec_from_file_location("convex_without_cvxpy", convex.__file__)
    with pytest.raises(ImportError, match=r"rlhf-risk\[convex\]"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
