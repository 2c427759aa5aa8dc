"""Nominal reward against the worst member, per sample and per policy."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theory.draws import as_torch, log_distribution, scores, tables
from tests.tolerance import EXACT, ROUNDING, VALUE
from theory.binding import Binding
from theory.errors import InputError, UnboundError
from theory.mixes import PolicyWorstMix, WorstMix, opponents
from theory.objective import Objective, value
from theory.optimum import bind, solve
from theory.penalties import Penalty
from theory.scores import Scores
from theory.utilities import LCB, Max, Mean, Member, Min, MinStdHead

LAMS = st.sampled_from([0.0, 0.25, 0.4, 1.0])


@settings(max_examples=40)
@given(tables(), LAMS, st.integers(0, 1))
def test_definitions(members, lam, nominal):
    table = Scores(members)
    others = np.delete(members, nominal, axis=-1)
    mixed = lam * members[..., nominal] + (1 - lam) * others.min(-1)
    np.testing.assert_allclose(WorstMix(lam, Member(nominal))(table), mixed, atol=EXACT)
    np.testing.assert_array_equal(opponents(WorstMix(lam, Member(nominal)), table), others)
    mixed = lam * members.mean(-1) + (1 - lam) * members.min(-1)
    np.testing.assert_allclose(WorstMix(lam, Mean(), "all")(table), mixed, atol=EXACT)
    weights = np.random.default_rng(0).dirichlet(np.ones(table.k))
    bound = PolicyWorstMix(lam, Mean(), "all")(table, Binding(member_weights=weights))
    mixed = lam * members.mean(-1) + (1 - lam) * members @ weights
    np.testing.assert_allclose(bound, mixed, atol=ROUNDING)


@pytest.mark.parametrize("nominal", [Mean(), Max(), MinStdHead(), LCB(0.5), Member(2)])
def test_limits_are_the_nominal_and_the_minimum(nominal):
    table = scores()
    np.testing.assert_array_equal(WorstMix(1.0, nominal, "all")(table), nominal(table))
    np.testing.assert_array_equal(WorstMix(0.0, nominal, "all")(table), Min()(table))


@settings(max_examples=40)
@given(tables(), LAMS, st.integers(0, 99))
def test_the_worst_of_each_sample_is_below_the_worst_of_the_policy(members, lam, seed):
    """E[min_i r_i] <= min_i E[r_i] <= sum_i w_i E[r_i]."""
    table, rng = Scores(members), np.random.default_rng(seed)
    policy = rng.dirichlet(np.ones(members.shape[1]), members.shape[0])
    weights = rng.dirichlet(np.ones(table.k))
    mix = PolicyWorstMix(lam, Mean(), "all")
    sample = (policy * WorstMix(lam, Mean(), "all")(table)).sum(-1)
    returns = (policy[..., None] * members).sum(-2)
    worst = lam * returns.mean(-1) + (1 - lam) * returns.min(-1)
    bound = (policy * mix(table, Binding(member_weights=weights))).sum(-1)
    assert (sample <= worst + ROUNDING).all()
    assert (worst <= bound + ROUNDING).all()


def test_two_members_that_disagree():
    """Per sample nothing moves; the policy-level worst case balances them [rewardrobust2024]."""
    table = Scores(np.array([[1.0, 0.0], [0.0, 1.0]]))
    log_reference = np.log([0.9, 0.1])
    for beta, policy in ((1.0, (0.768, 0.232)), (0.3, (0.5, 0.5)), (0.05, (0.5, 0.5))):
        strength = Penalty(beta)
        per_sample = Objective(WorstMix(0.0, over="all"), strength=strength)
        per_policy = Objective(PolicyWorstMix(0.0, over="all"), strength=strength)
        np.testing.assert_allclose(
            solve(per_sample, log_reference, table).policy, [0.9, 0.1], atol=ROUNDING
        )
        found = solve(per_policy, log_reference, table).policy
        assert tuple(found.round(3)) == policy


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("prompt_weights", [None, np.array([0.2, 0.5, 0.3])])
def test_bound_to_a_policy_the_value_is_the_worst_case(temperature, prompt_weights):
    table, log_reference, log_policy = scores(), log_distribution(0), log_distribution(1)
    objective = Objective(PolicyWorstMix(0.4, temperature=temperature), strength=Penalty(0.1))
    bound = bind(objective, table, log_reference,
                 log_policy=log_policy, prompt_weights=prompt_weights)  # fmt: skip
    policy = np.exp(log_policy)
    weights = np.full(3, 1 / 3) if prompt_weights is None else prompt_weights
    returns = weights @ (policy[..., None] * table.members[..., 1:]).sum(-2)
    if temperature:
        worst = -temperature * np.log(np.mean(np.exp(-returns / temperature)))
        q = bound.binding.member_weights.ravel()
        worst -= temperature * (q * np.log(q * len(q))).sum()
    else:
        worst = returns.min()
    nominal = weights @ (policy * table.members[..., 0]).sum(-1)
    kl = weights @ (policy * (log_policy - log_reference)).sum(-1)
    expected = 0.4 * nominal + 0.6 * worst - 0.1 * kl
    found = weights @ value(bound, log_policy, log_reference, table)
    assert abs(found - expected) < ROUNDING


def test_the_optimum_does_not_depend_on_how_prompt_weights_are_scaled():
    table, log_reference = scores(), log_distribution()
    objective = Objective(PolicyWorstMix(0.4), strength=Penalty(0.1))
    weights = np.array([0.2, 0.5, 0.3])
    found = solve(objective, log_reference, table, prompt_weights=weights)
    again = solve(objective, log_reference, table, prompt_weights=10 * weights)
    np.testing.assert_allclose(again.policy, found.policy, atol=VALUE)
    equal = solve(objective, log_reference, table)
    assert np.abs(equal.policy - found.policy).max() > VALUE


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WorstMix(1.5), "`lam` must be between 0 (worst case) and 1 (nominal), got 1.5"),
        (lambda: PolicyWorstMix(-0.1), "`lam` must be between 0"),
        (lambda: WorstMix(float("nan")), "got nan"),
        (lambda: WorstMix(over="other"), "one of all, others, got 'other'; did you mean 'others'"),
        (lambda: WorstMix(nominal=PolicyWorstMix()), "`nominal` must be a sample-level utility"),
        (lambda: WorstMix(nominal=Mean()), "`over` must be 'all' when the nominal is not one member"
         ", got 'others'; pass over='all'"),
        (lambda: PolicyWorstMix(temperature=-1.0), "`temperature` must be >= 0"),
        (lambda: WorstMix()(Scores(np.zeros((2, 1)))), "`members` must be at least 2 for"),
        (lambda: WorstMix(nominal=Member(4))(scores()), "`index` must be a member between 0 and 3"),
        (lambda: PolicyWorstMix()(scores(), Binding(member_weights=np.ones(4))),
         "`member_weights` must be broadcastable with `members` of shape (3, 5, 3), got (4,)"),
        (lambda: PolicyWorstMix()(as_torch(scores()), Binding(member_weights=np.ones(3))),
         "mix of numpy and torch"),
    ],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make()


def test_what_is_not_bound_names_the_call():
    words = re.escape("needs `member_weights`, which depends on a batch; call bind(")
    with pytest.raises(UnboundError, match=words):
        PolicyWorstMix()(scores())
