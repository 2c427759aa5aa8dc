"""The papers' own formulas: what they give, and what is wrong with them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tolerance import EXACT, ROUNDING
from theory.as_printed import (
    aware_displacement_as_printed,
    sharpe_tilt_as_printed,
    unaware_displacement_as_printed,
)
from theory.divergences import divergence
from theory.errors import InputError
from theory.solvers.ellipsoid import budget
from theory.solvers.weighted_kl import tilt

HALF = np.log([0.5, 0.5])


@pytest.mark.parametrize(("shift", "first"), [(-5.0, 0.982), (0.0, 0.562), (5.0, 0.029)])
def test_the_tilt_moves_with_a_constant_added_to_all_rewards(shift, first):
    policy = np.exp(
        sharpe_tilt_as_printed(np.array([1.0, 0.0]) + shift, np.array([4.0, 1.0]), HALF, 1.0)
    )
    assert round(policy[0], 3) == first
    assert policy.sum() == pytest.approx(1, abs=EXACT)


def test_the_tilt_is_worse_than_the_reference_at_its_own_objective():
    reward, cost = np.array([1.0, 0.0]), np.array([4.0, 1.0])
    for beta in np.geomspace(1e-2, 1e2, 50):
        log_policy = sharpe_tilt_as_printed(reward, cost, HALF, float(beta))
        value = np.exp(log_policy) @ reward - divergence(log_policy, cost, HALF, "kl")
        assert value < reward.mean()


@given(st.integers(0, 10**6))
def test_the_tilt_is_right_where_the_coefficient_is_constant(seed):
    rng = np.random.default_rng(seed)
    reward, reference = rng.normal(size=5), np.log(rng.dirichlet(np.ones(5)))
    beta, cost = float(rng.uniform(0.3, 2)), float(rng.uniform(0.3, 2))
    printed = sharpe_tilt_as_printed(reward, np.array([cost]), reference, beta)
    exact = tilt(reward, np.full(5, beta * cost), reference, "kl").log_policy
    np.testing.assert_allclose(np.exp(printed), np.exp(exact), atol=ROUNDING)


@given(st.integers(0, 10**6))
def test_displacements_spend_their_budget_and_leave_the_simplex(seed):
    rng = np.random.default_rng(seed)
    utility, variance = rng.normal(1.0, 1.0, size=(3, 4)), rng.uniform(0.1, 3, 4)
    unaware = unaware_displacement_as_printed(utility, 0.2)
    aware = aware_displacement_as_printed(utility, variance, 0.2)
    np.testing.assert_allclose((unaware**2).sum(-1), 0.2, rtol=ROUNDING)
    np.testing.assert_allclose((variance * aware**2).sum(-1), 0.2, rtol=ROUNDING)
    assert (np.abs(unaware.sum(-1)) > ROUNDING).all()
    for displacement, weight in ((unaware, np.ones(4)), (aware, variance)):
        free = budget(utility, np.broadcast_to(weight, utility.shape), 0.2, equalities=None).d
        np.testing.assert_allclose(displacement, free, atol=ROUNDING)


def test_the_sum_of_the_printed_displacement():
    """R = (3.6, 1.8, 2.8), eps = .1: pi0 + d1 would sum to 1.529."""
    total = unaware_displacement_as_printed(np.array([3.6, 1.8, 2.8]), 0.1).sum()
    assert round(float(total), 3) == 0.529


def test_equal_variances_give_the_same_displacement():
    utility = np.array([1.0, -2.0, 0.5])
    aware = aware_displacement_as_printed(utility, np.full(3, 2.5), 2.5 * 0.1)
    np.testing.assert_allclose(aware, unaware_displacement_as_printed(utility, 0.1), atol=EXACT)


def test_no_utility_gives_no_displacement():
    utility = np.array([[0.0, 0.0], [3.0, 4.0]])
    displacement = unaware_displacement_as_printed(utility, 0.25)
    np.testing.assert_allclose(displacement, [[0, 0], [0.3, 0.4]], atol=EXACT)
    assert not aware_displacement_as_printed(utility[0], np.ones(2), 0.25).any()


def test_numpy_and_torch_agree():
    rng = np.random.default_rng(0)
    utility, variance = rng.normal(size=(3, 5)), rng.uniform(0.5, 2, size=(3, 5))
    reference = np.log(rng.dirichlet(np.ones(5), size=3))
    as_torch = [torch.as_tensor(a) for a in (utility, variance, reference)]
    pairs = [
        (sharpe_tilt_as_printed(utility, variance, reference, 0.7),
         sharpe_tilt_as_printed(*as_torch, 0.7)),
        (unaware_displacement_as_printed(utility, 0.1),
         unaware_displacement_as_printed(as_torch[0], 0.1)),
        (aware_displacement_as_printed(utility, variance, 0.1),
         aware_displacement_as_printed(*as_torch[:2], 0.1)),
    ]  # fmt: skip
    for expected, found in pairs:
        assert isinstance(found, torch.Tensor)
        np.testing.assert_allclose(found.numpy(), expected, atol=EXACT)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda u, v: sharpe_tilt_as_printed(u, v, HALF, 0.0), "beta"),
        (lambda u, v: sharpe_tilt_as_printed(u, 0 * v, HALF, 1.0), "coefficient"),
        (lambda u, v: unaware_displacement_as_printed(u, -0.1), "eps"),
        (lambda u, v: unaware_displacement_as_printed(u, float("nan")), "eps"),
        (lambda u, v: aware_displacement_as_printed(u, -v, 0.1), "variance"),
        (lambda u, v: aware_displacement_as_printed(u, v, -0.1), "eps"),
    ],
)
def test_bad_input(call, argument):
    with pytest.raises(InputError, match=argument):
        call(np.array([1.0, 2.0]), np.array([1.0, 3.0]))
