"""Policy-level mixes: duality certificates, symmetries, limits, agreement with CVXPY."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tolerance import EXACT, POLICY, ROUNDING, VALUE
from theory.checks import InputError
from theory.divergences import divergence
from theory.solvers import convex
from theory.solvers.member_mix import Inner, member_mix, robust_mean, tilted
from theory.solvers.quadratic import simplex_penalised
from theory.solvers.weighted_kl import tilt

FORMS = ("bregman", "kl")
TEMPERATURES = (0.0, 0.2, 5.0, np.inf)
TWO_NOMINAL, TWO_MEMBERS = np.zeros((1, 2)), np.eye(2)[None]
TWO_REFERENCE = np.log([[0.9, 0.1]])


class Problem:
    """Runs of one shape; costs over two decades, references with zeros, optionally tied members."""

    def __init__(self, seed, *, runs=(2,), prompts=3, n=5, k=4, tied=False):
        rng = np.random.default_rng(seed)
        self.nominal = rng.normal(size=(*runs, prompts, n))
        self.members = rng.normal(size=(*runs, prompts, n, k))
        if tied:
            self.members[..., k // 2 :] = self.members[..., :1]
        self.cost = 10 ** rng.uniform(-1.5, 0.5, (*runs, prompts, n))
        reference = rng.dirichlet(np.full(n, 0.8), size=(*runs, prompts))
        reference = np.where(reference < 0.02, 0.0, reference)
        with np.errstate(divide="ignore"):
            self.log_reference = np.log(reference / reference.sum(-1, keepdims=True))
        self.rho = rng.dirichlet(np.ones(prompts))
        self.scale = float(np.ptp(self.members))

    def solve(self, form, lam=0.4, temperature=0.0, members=None):
        return member_mix(
            self.nominal,
            self.members if members is None else members,
            lam,
            tilted(self.cost, self.log_reference, form),
            temperature=temperature,
            prompt_weights=self.rho,
        )

    def returns(self, log_policy):
        return np.einsum("x,...xy,...xyi->...i", self.rho, np.exp(log_policy), self.members)

    def primal(self, log_policy, form, lam, temperature):
        nominal = np.einsum("x,...xy,...xy->...", self.rho, np.exp(log_policy), self.nominal)
        robust = robust_mean(self.returns(log_policy), temperature)
        cost = divergence(log_policy, self.cost, self.log_reference, form) @ self.rho
        return lam * nominal + (1 - lam) * robust - cost


seeds = st.integers(0, 2**32 - 1)
lams = st.sampled_from([0.0, 0.4, 0.99])


@settings(max_examples=40, deadline=None)
@given(
    seed=seeds,
    form=st.sampled_from(FORMS),
    lam=lams,
    k=st.integers(1, 12),
    tied=st.booleans(),
    temperature=st.sampled_from(TEMPERATURES),
)
def test_certificate(seed, form, lam, k, tied, temperature):
    problem = Problem(seed, k=k, tied=tied)
    found = problem.solve(form, lam, temperature)
    tolerance = ROUNDING * problem.scale
    assert (np.abs(found.gap) < tolerance).all()
    assert np.abs(found.weights.sum(-1) - 1).max() < ROUNDING
    attained = problem.primal(found.log_policy, form, lam, temperature)
    assert np.abs(found.value - attained).max() < tolerance
    mixed = np.einsum("...xyi,...i->...xy", problem.members, found.weights)
    best = tilt(
        lam * problem.nominal + (1 - lam) * mixed, problem.cost, problem.log_reference, form
    )
    assert np.abs(np.exp(best.log_policy) - np.exp(found.log_policy)).max() < EXACT


@settings(max_examples=30, deadline=None)
@given(seed=seeds, form=st.sampled_from(FORMS), lam=lams)
def test_weighted_members_are_the_worst(seed, form, lam):
    problem = Problem(seed, k=6)
    found = problem.solve(form, lam)
    returns = problem.returns(found.log_policy)
    excess = returns - returns.min(-1, keepdims=True)
    assert (found.weights * excess).max() < ROUNDING * problem.scale
    assert excess[found.weights > POLICY].max() < ROUNDING * problem.scale


@settings(max_examples=20, deadline=None)
@given(seed=seeds, form=st.sampled_from(FORMS), temperature=st.sampled_from(TEMPERATURES))
def test_no_policy_does_better(seed, form, temperature):
    problem = Problem(seed)
    found = problem.solve(form, temperature=temperature)
    rng = np.random.default_rng(seed)
    for spread in (1e-3, 0.1, 3.0):
        shifted = found.log_policy + spread * rng.normal(size=found.log_policy.shape)
        rival = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        attained = problem.primal(rival, form, 0.4, temperature)
        assert (attained <= found.value + ROUNDING * problem.scale).all()


@settings(max_examples=20, deadline=None)
@given(seed=seeds, temperature=st.sampled_from(TEMPERATURES))
def test_permuting_members_permutes_weights(seed, temperature):
    problem = Problem(seed, k=5)
    order = np.random.default_rng(seed).permutation(5)
    plain = problem.solve("bregman", temperature=temperature)
    moved = problem.solve("bregman", temperature=temperature, members=problem.members[..., order])
    assert np.abs(moved.weights - plain.weights[..., order]).max() < POLICY
    assert np.abs(np.exp(moved.log_policy) - np.exp(plain.log_policy)).max() < VALUE
    assert np.abs(moved.value - plain.value).max() < ROUNDING


@settings(max_examples=15, deadline=None)
@given(seed=seeds, form=st.sampled_from(FORMS), temperature=st.sampled_from(TEMPERATURES))
def test_identical_members_are_that_member(seed, form, temperature):
    problem = Problem(seed)
    same = np.repeat(problem.members[..., :1], 4, axis=-1)
    found = problem.solve(form, temperature=temperature, members=same)
    utility = 0.4 * problem.nominal + 0.6 * same[..., 0]
    alone = tilt(utility, problem.cost, problem.log_reference, form)
    assert np.abs(np.exp(found.log_policy) - np.exp(alone.log_policy)).max() < ROUNDING
    assert np.abs(found.weights - 1 / 4).max() < ROUNDING


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_nominal_only_ignores_members(form, temperature):
    problem = Problem(5)
    found = problem.solve(form, lam=1.0, temperature=temperature)
    other = problem.solve(form, lam=1.0, temperature=temperature, members=-problem.members)
    alone = tilt(problem.nominal, problem.cost, problem.log_reference, form)
    assert np.array_equal(found.log_policy, other.log_policy)
    assert np.abs(np.exp(found.log_policy) - np.exp(alone.log_policy)).max() < EXACT
    assert not found.gap.any()


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_value_grows_with_temperature_from_worst_to_mean(seed):
    problem = Problem(seed)
    ladder = (0.0, 1e-9, 0.1, 1.0, 100.0, 1e6, np.inf)
    values = np.array([problem.solve("kl", temperature=t).value for t in ladder])
    assert (np.diff(values, axis=0) > -VALUE).all()
    assert np.abs(values[1] - values[0]).max() < VALUE
    mean = 0.4 * problem.nominal + 0.6 * problem.members.mean(-1)
    average = tilt(mean, problem.cost, problem.log_reference, "kl")
    top = problem.solve("kl", temperature=np.inf)
    assert np.abs(np.exp(top.log_policy) - np.exp(average.log_policy)).max() < ROUNDING


@settings(max_examples=15, deadline=None)
@given(seed=seeds, temperature=st.sampled_from([0.3, 5.0]))
def test_weights_are_the_softmin_of_returns(seed, temperature):
    problem = Problem(seed)
    found = problem.solve("bregman", temperature=temperature)
    softmin = np.exp(-problem.returns(found.log_policy) / temperature)
    softmin = softmin / softmin.sum(-1, keepdims=True)
    assert np.abs(found.weights - softmin).max() < VALUE


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_policy_level_is_at_least_the_per_sample_minimum(seed):
    problem = Problem(seed)
    pessimist = 0.4 * problem.nominal + 0.6 * problem.members.min(-1)
    chosen = tilt(pessimist, problem.cost, problem.log_reference, "kl").log_policy
    per_sample = np.einsum("x,...xy,...xy->...", problem.rho, np.exp(chosen), pessimist)
    per_sample -= divergence(chosen, problem.cost, problem.log_reference, "kl") @ problem.rho
    assert (problem.solve("kl").value >= per_sample - ROUNDING).all()


@pytest.mark.parametrize(
    ("beta", "policy", "weights"),
    [
        (1.0, (0.768, 0.232), (0.0, 1.0)),
        (0.3, (0.5, 0.5), (0.170, 0.830)),
        (0.05, (0.5, 0.5), (0.445, 0.555)),
    ],
)
def test_two_arm_numbers(beta, policy, weights):
    inner = tilted(np.array([[beta]]), TWO_REFERENCE, "kl")
    found = member_mix(TWO_NOMINAL, TWO_MEMBERS, 0.0, inner)
    assert np.abs(np.exp(found.log_policy[0]) - policy).max() < POLICY
    assert np.abs(found.weights - weights).max() < POLICY


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_cvxpy(seed):
    problem = Problem(seed, runs=())
    form, temperature = FORMS[seed % 2], (0.0, 0.5)[seed // 10]
    found = problem.solve(form, temperature=temperature)
    reference = convex.member_mix(
        problem.nominal,
        problem.members,
        0.4,
        problem.cost,
        problem.log_reference,
        form,
        1.0,
        temperature=temperature,
        prompt_weights=problem.rho,
    )
    assert reference.status == "optimal"
    assert abs(reference.value - found.value) < VALUE
    assert np.abs(reference.policy - np.exp(found.log_policy)).max() < POLICY


def test_quadratic_inner_solver():
    problem = Problem(7, runs=(), k=6)
    reference = np.exp(problem.log_reference)

    def inner(utility):
        policy = simplex_penalised(utility, problem.cost, reference).policy
        distance = (problem.cost * (policy - reference) ** 2).sum(-1)
        with np.errstate(divide="ignore"):
            log_policy = np.log(policy)
        curvature = (policy > 0) / (2 * problem.cost)
        return Inner((policy * utility).sum(-1) - distance, log_policy, curvature)

    found = member_mix(problem.nominal, problem.members, 0.2, inner)
    assert abs(found.gap) < ROUNDING * problem.scale


def test_runs_are_solved_as_if_alone():
    problem = Problem(11, runs=(2, 3))
    together = problem.solve("kl")
    for run in np.ndindex(2, 3):
        inner = tilted(problem.cost[run], problem.log_reference[run], "kl")
        alone = member_mix(
            problem.nominal[run], problem.members[run], 0.4, inner, prompt_weights=problem.rho
        )
        assert abs(alone.value - together.value[run]) < ROUNDING
        assert np.abs(np.exp(alone.log_policy) - np.exp(together.log_policy[run])).max() < VALUE


def test_second_order_convergence_needs_few_inner_solves():
    problem = Problem(13, runs=(20,), prompts=8, n=8, k=10)
    inner, calls = tilted(problem.cost, problem.log_reference, "bregman"), []

    def counted(utility):
        calls.append(1)
        return inner(utility)

    found = member_mix(problem.nominal, problem.members, 0.0, counted)
    assert found.gap.max() < ROUNDING * problem.scale
    assert len(calls) < 60


@pytest.mark.parametrize("factor", [1e-6, 1e4])
def test_extreme_ratios_of_reward_to_cost(factor):
    problem = Problem(17)
    problem.nominal, problem.members = problem.nominal * factor, problem.members * factor
    found = problem.solve("bregman")
    assert (found.gap < ROUNDING * problem.scale * factor).all()


def test_constant_members_leave_the_nominal():
    problem = Problem(19)
    found = problem.solve("kl", members=np.full_like(problem.members, 2.0))
    alone = tilt(0.4 * problem.nominal + 1.2, problem.cost, problem.log_reference, "kl")
    assert np.abs(np.exp(found.log_policy) - np.exp(alone.log_policy)).max() < ROUNDING


def with_nan(array):
    array = array.copy()
    array.flat[0] = np.nan
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nominal": np.zeros((1, 3))}, r"`members`.*\(1, 3\).*\(1, 2, 2\)"),
        ({"members": np.zeros((1, 2, 0))}, r"`members`.*\(1, 2, 0\)"),
        ({"nominal": with_nan(TWO_NOMINAL)}, "`nominal`.*finite"),
        ({"members": with_nan(TWO_MEMBERS)}, "`members`.*finite"),
        ({"lam": -0.1}, "`lam`"),
        ({"lam": 1.1}, "`lam`"),
        ({"lam": np.nan}, "`lam`"),
        ({"temperature": -1.0}, "`temperature`"),
        ({"temperature": np.nan}, "`temperature`"),
        ({"prompt_weights": np.array([0.5, 0.5])}, r"`prompt_weights`.*\(1,\).*\(2,\)"),
        ({"prompt_weights": np.array([0.7])}, "`prompt_weights`.*sum"),
    ],
)
@pytest.mark.usefixtures("without_shape_annotations")
def test_bad_input(changes, message):
    arguments = {
        "nominal": TWO_NOMINAL,
        "members": TWO_MEMBERS,
        "lam": 0.5,
        "inner": tilted(np.ones((1, 2)), TWO_REFERENCE, "kl"),
    }
    with pytest.raises(InputError, match=message):
        member_mix(**(arguments | changes))


@pytest.mark.parametrize(
    ("cost", "form", "message"),
    [
        (np.zeros((1, 2)), "kl", "`cost`.*> 0"),
        (np.full((1, 2), np.nan), "kl", "`cost`.*finite"),
        (np.ones((1, 3)), "kl", r"`log_reference`.*\(1, 3\).*\(1, 2\)"),
        (np.ones((1, 2)), "renyi", "`form`"),
    ],
)
@pytest.mark.usefixtures("without_shape_annotations")
def test_bad_inner(cost, form, message):
    with pytest.raises(InputError, match=message):
        tilted(cost, TWO_REFERENCE, form)


@pytest.mark.usefixtures("without_shape_annotations")
def test_inner_rejects_a_utility_of_another_shape():
    with pytest.raises(InputError, match=r"\(1, 3\).*\(1, 2\)"):
        tilted(np.ones((1, 2)), TWO_REFERENCE, "kl")(np.zeros((1, 3)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beta", [1e4, 1e5, 1e6, 1e7, 1e9])
def test_large_prices_cost_no_more_passes(beta, seed):
    """Values are then differences of large numbers, and noise to a line search."""
    problem, calls = Problem(seed, runs=()), []
    inner = tilted(np.full((3, 5), beta), problem.log_reference, "bregman")

    def counted(utility):
        calls.append(None)
        return inner(utility)

    found = member_mix(problem.nominal, problem.members, 0.0, counted, temperature=1.0)
    assert len(calls) < 200
    assert found.gap < ROUNDING * problem.scale
