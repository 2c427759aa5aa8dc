"""Coefficients, their floors, the metric of a quadratic form, and strengths."""

import re
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theory.draws import MEMBERS, as_torch, log_distribution, scores, tables
from tests.tolerance import EXACT, ROUNDING
from theory.divergences import kl, squared_norm
from theory.errors import InputError
from theory.experts import ExpertVariance, RelativeVariance
from theory.penalties import (
    FORMS,
    SIGMA_MIN,
    Budget,
    Constant,
    Covariance,
    Fisher,
    Form,
    Penalty,
    StdDev,
    TargetKL,
    Variance,
    metric,
)
from theory.scores import Scores

REFERENCE = log_distribution()
PER_CELL = [Constant(), StdDev(), StdDev(0.5, ddof=0), Variance(), Variance(0.5, ddof=0)]
EVERY = [*PER_CELL, Covariance(), Covariance("sample"), Fisher(), RelativeVariance(),
         ExpertVariance(), ExpertVariance(per="sample")]  # fmt: skip


@settings(max_examples=40)
@given(tables(), st.sampled_from([1e-3, 0.5, 3.0]), st.sampled_from([0, 1]))
def test_coefficients_are_floored_moments(members, floor, ddof):
    table = Scores(members)
    std = np.maximum(members.std(-1, ddof=ddof), floor)
    np.testing.assert_allclose(StdDev(floor, ddof)(table), std, rtol=ROUNDING)
    np.testing.assert_allclose(Variance(floor, ddof)(table), std**2, rtol=ROUNDING)
    np.testing.assert_array_equal(Constant()(table), np.ones(members.shape[:-1]))


def test_known_variances_are_prices_too():
    table = Scores.known(np.zeros(3), np.array([0.0, 0.5, 2.0]))
    assert StdDev()(table).tolist() == [SIGMA_MIN, 0.5, 2.0]
    assert Variance(1.0)(table).tolist() == [1.0, 1.0, 4.0]


@pytest.mark.parametrize("coefficient", PER_CELL, ids=str)
def test_members_that_agree_end_at_the_floor(coefficient):
    table = Scores(np.ones((2, 3, MEMBERS)))
    price = coefficient(table)
    assert (price > 0).all()
    assert np.ptp(price) == 0
    members = torch.ones((2, MEMBERS), dtype=torch.float64, requires_grad=True)
    (coefficient(Scores(members)) + 0 * members.sum()).sum().backward()
    assert members.grad.abs().max() == 0


@pytest.mark.parametrize("coefficient", PER_CELL, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numpy_and_torch_agree_on_any_batch(coefficient, dtype):
    here = coefficient(scores())
    there = coefficient(as_torch(scores(), dtype=dtype))
    assert there.dtype == dtype
    np.testing.assert_allclose(
        there.to(torch.float64).numpy(), here, rtol=torch.finfo(dtype).eps * 16
    )
    flat = coefficient(Scores(scores().members.reshape(-1, MEMBERS)))
    np.testing.assert_array_equal(flat, here.ravel())


@pytest.mark.parametrize("coefficient", [StdDev(), Variance()], ids=str)
def test_torch_gradient_is_the_numerical_one(coefficient):
    table, step = scores(), 1e-6
    direction = scores(1).members
    up, down = (
        coefficient(Scores(table.members + sign * step * direction)).sum() for sign in (1, -1)
    )
    members = torch.tensor(table.members, requires_grad=True)
    coefficient(Scores(members)).sum().backward()
    along = float((members.grad.numpy() * direction).sum())
    np.testing.assert_allclose(along, (up - down) / (2 * step), rtol=1e3 * ROUNDING)


@pytest.mark.parametrize("coefficient", EVERY, ids=str)
def test_coefficients_compare_hash_and_say_what_they_are(coefficient):
    assert coefficient == replace(coefficient)
    assert hash(coefficient) == hash(replace(coefficient))
    assert coefficient.matrix == isinstance(coefficient, Covariance)
    assert bool(coefficient.needs) == isinstance(coefficient, RelativeVariance | ExpertVariance)


@pytest.mark.parametrize("coefficient", PER_CELL, ids=str)
def test_the_metric_of_a_coefficient_is_diagonal(coefficient):
    found = metric(coefficient, scores(), REFERENCE)
    np.testing.assert_array_equal(found, coefficient(scores()))


@pytest.mark.parametrize("method", ["ledoit_wolf", "diagonal", "diagonal_plus_low_rank"])
def test_the_metric_of_a_covariance_is_a_matrix(method):
    coefficient = Covariance(method, rank=2)
    found = metric(coefficient, scores(), REFERENCE)
    assert found.shape == (3, 5, 5)
    np.testing.assert_array_equal(found, scores().covariance(method, rank=2))
    there = metric(coefficient, as_torch(scores(), dtype=torch.float32), torch.tensor(REFERENCE))
    assert there.dtype == torch.float32
    known = replace(scores(), known_covariance=found)
    np.testing.assert_array_equal(metric(Covariance("sample"), known, REFERENCE), found)


def test_the_fisher_metric_is_twice_kl_to_second_order():
    move = log_distribution(1)
    displacement = 1e-4 * (np.exp(move) - np.exp(REFERENCE))
    divergence = kl(np.log(np.exp(REFERENCE) + displacement), REFERENCE)
    quadratic = squared_norm(metric(Fisher(), scores(), REFERENCE), displacement, matrix=False)
    largest = np.abs(displacement / np.exp(REFERENCE)).max()
    np.testing.assert_allclose(quadratic / 2, divergence, rtol=largest)


def test_a_covariance_of_rank_k_less_one_is_no_metric():
    with pytest.raises(InputError, match=r"smallest eigenvalue of .*regularise it.*ledoit_wolf"):
        metric(Covariance("sample"), scores(), REFERENCE)


def test_the_fisher_metric_needs_mass_everywhere():
    with pytest.raises(InputError, match="`reference` must be > 0, got a minimum of 0"):
        metric(Fisher(), Scores(np.zeros((2, 2))), np.array([0.0, -np.inf]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Covariance()(scores()), "`form` must be 'quadratic' or 'norm' with a Covariance"),
        (lambda: Fisher()(scores()), "`form` must be 'quadratic' or 'norm' with a Fisher"),
        (lambda: Covariance("ledoitwolf"), "got 'ledoitwolf'; did you mean 'ledoit_wolf'?"),
        (lambda: StdDev(0.0), "`sigma_min` must be > 0, got 0"),
        (lambda: Variance(-1.0), "`sigma_min` must be > 0, got -1"),
        (lambda: Variance(float("inf")), "`sigma_min` must be finite, got inf"),
        (lambda: StdDev()(Scores(np.zeros((2, 1)))), "`members` must be at least 2 members"),
        (lambda: Penalty(0.0), "`beta` must be > 0, got 0"),
        (lambda: Penalty(-0.1), "`beta` must be > 0, got -0.1"),
        (lambda: Penalty(float("nan")), "`beta` must be finite, got nan"),
        (lambda: Penalty(float("inf")), "`beta` must be finite, got inf"),
        (lambda: Budget(float("nan")), "`eps` must be finite, got nan"),
        (lambda: TargetKL(0.0), "`kl` must be > 0, got 0"),
        (lambda: TargetKL(float("inf")), "`kl` must be finite, got inf"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make()


def test_strengths_are_values():
    assert Penalty(1) == Penalty(1.0)
    assert len({Penalty(0.1), Budget(0.1), TargetKL(0.1), Budget(0.1, per_prompt=True)}) == 4
    # A weighted KL can be negative, and so can its budget.
    assert Budget(-0.1).eps == -0.1
    assert set(FORMS) == set(get_args(Form))
    assert abs(Constant()(scores()).mean() - 1) < EXACT
