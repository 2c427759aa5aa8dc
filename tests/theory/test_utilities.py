"""Utilities: each against its definition, and the laws that all of them obey."""

import itertools
import re
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from tests.theory.draws import MEMBERS, PROMPTS, as_torch, scores, tables
from tests.tolerance import EXACT, FLOAT32, ROUNDING, VALUE, mc
from theory.binding import Binding
from theory.dro import ChiSquareBall, ChiSquarePenalty, Entropic
from theory.errors import InputError, UnboundError
from theory.experts import ExpertMean
from theory.mixes import PolicyWorstMix, WorstMix
from theory.order_statistics import gaussian_max_mean, gaussian_max_std, lcb_mean_std
from theory.scores import Scores
from theory.utilities import LCB, UWO, Max, Mean, Member, Min, MinStdHead

EVERY = [
    Member(1), Mean(), Min(), Max(), LCB(0.7), LCB(1.5, ddof=0), UWO(0.4), UWO(0.4, ddof=0),
    MinStdHead(), Entropic(0.5), ChiSquarePenalty(0.3), ChiSquarePenalty(5.0), ChiSquareBall(0.3),
    ChiSquareBall(2.0), WorstMix(0.0), WorstMix(0.4), WorstMix(0.4, Mean(), "all"),
    WorstMix(0.0, over="all"), WorstMix(0.3, MinStdHead(), "all"), PolicyWorstMix(0.4),
    PolicyWorstMix(0.0, over="all", temperature=1.0), PolicyWorstMix(0.4, Mean(), "all"),
    ExpertMean(0.5), ExpertMean(0.5, per="sample"),
]  # fmt: skip
SHIFT_EQUIVARIANT = [u for u in EVERY if not isinstance(u, ExpertMean)]
MONOTONE = [
    u for u in SHIFT_EQUIVARIANT
    if not isinstance(u, LCB | UWO | MinStdHead) and "MinStdHead" not in str(u)
]  # fmt: skip


def uniform_binding(utility, table):
    """Variances of its own for each prompt; equal weights of the members set against each other."""
    k = table.k - (getattr(utility, "over", "all") == "others")
    prompts = 1.0 + np.arange(PROMPTS)
    binding = Binding(np.array(0.7), prompts[:, None], np.full(k, 1 / k))
    return as_torch(binding) if isinstance(table.members, torch.Tensor) else binding


def utility_of(utility, table):
    return utility(table, uniform_binding(utility, table))


@settings(max_examples=40)
@given(tables())
def test_definitions(members):
    definitions = {
        Member(1): lambda r: r[1],
        Mean(): statistics.fmean,
        Min(): min,
        Max(): max,
        LCB(0.7): lambda r: statistics.fmean(r) - 0.7 * statistics.stdev(r),
        LCB(2.0, ddof=0): lambda r: statistics.fmean(r) - 2 * statistics.pstdev(r),
        UWO(0.7): lambda r: statistics.fmean(r) - 0.7 * statistics.variance(r),
        UWO(2.0, ddof=0): lambda r: statistics.fmean(r) - 2 * statistics.pvariance(r),
    }
    for utility, definition in definitions.items():
        found = utility(Scores(members)).ravel()
        expected = [definition(row) for row in members.reshape(-1, members.shape[-1]).tolist()]
        np.testing.assert_allclose(found, expected, atol=ROUNDING, err_msg=str(utility))


def test_min_std_head_is_the_most_confident_member():
    table = scores()
    expected = [
        row[int(np.argmin(std))]
        for row, std in zip(
            table.members.reshape(-1, 4), table.head_std.reshape(-1, 4), strict=True
        )
    ]
    np.testing.assert_array_equal(MinStdHead()(table).ravel(), expected)


def test_a_strength_of_zero_is_the_mean():
    for utility in (LCB(0.0), UWO(0.0), ChiSquareBall(0.0)):
        np.testing.assert_allclose(utility(scores()), scores().mean(), atol=EXACT)


@settings(max_examples=40)
@given(tables())
def test_minimum_and_lower_bound(members):
    """mean - sqrt(k-1) std <= min <= mean - std / sqrt(k-1), equal for two members."""
    table, k = Scores(members), members.shape[-1]
    worst = Min()(table)
    assert (LCB(np.sqrt(k - 1), ddof=0)(table) <= worst + ROUNDING).all()
    assert (LCB(1 / np.sqrt(k - 1), ddof=0)(table) >= worst - ROUNDING).all()
    pair = Scores(members[..., :2])
    np.testing.assert_allclose(LCB(1.0, ddof=0)(pair), Min()(pair), atol=ROUNDING)
    factor = np.sqrt((k - 1) / k)
    np.testing.assert_allclose(LCB(factor)(table), LCB(1.0, ddof=0)(table), atol=ROUNDING)


@pytest.mark.parametrize(("beta", "std"), [(0.0, 0.577), (1.0, 0.740), (2.0, 1.092)])
def test_the_bound_of_three_normal_members_is_noisier_than_their_mean(beta, std):
    n, k = 200_000, 3
    found = LCB(beta)(Scores(np.random.default_rng(0).normal(size=(n, k))))
    law = lcb_mean_std(k, beta)
    assert abs(found.mean() - law.mean) < mc(law.std, n)
    assert abs(found.var() - law.std**2) < mc(((found - law.mean) ** 2).std(), n)
    assert round(law.std, 3) == std


@pytest.mark.parametrize("k", [2, 3, 5, 10])
def test_the_minimum_of_normal_members_is_a_lower_bound(k):
    n, mean, std = 100_000, gaussian_max_mean(k), gaussian_max_std(k)
    table = Scores(np.random.default_rng(0).normal(size=(n, k)))
    for found in (-Min()(table), Max()(table)):
        assert abs(found.mean() - mean) < mc(std, n)
        assert abs(found.std() - std) < mc(std, n)


@pytest.mark.parametrize("utility", EVERY, ids=str)
def test_symmetric_means_that_permuting_members_changes_nothing(utility):
    table = scores()
    here = utility_of(utility, table)
    moved = [
        utility_of(utility, Scores(table.members[..., order], head_std=table.head_std[..., order]))
        for order in map(list, itertools.permutations(range(MEMBERS)))
    ]
    unchanged = all(np.abs(there - here).max() < ROUNDING for there in moved)
    assert unchanged == utility.symmetric


@pytest.mark.parametrize("utility", EVERY, ids=str)
def test_identical_members_are_that_member(utility):
    one = scores().members[..., :1]
    table = Scores(np.repeat(one, MEMBERS, -1), head_std=scores().head_std)
    found = utility_of(utility, table)
    if isinstance(utility, ExpertMean):
        # No variance, or one a prompt: a factor that its coefficient shares.
        found = found / utility_of(utility, replace(table, members=np.ones_like(table.members)))
    np.testing.assert_allclose(found, one[..., 0], atol=ROUNDING)


@pytest.mark.parametrize("utility", EVERY, ids=str)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, ROUNDING), (torch.float32, FLOAT32)]
)
def test_numpy_and_torch_agree(utility, dtype, tolerance):
    table = as_torch(scores(), dtype=dtype)
    binding = as_torch(uniform_binding(utility, scores()), dtype=dtype)
    there = utility(table, binding)
    assert there.dtype == dtype
    np.testing.assert_allclose(there.numpy(), utility_of(utility, scores()), atol=tolerance)


@pytest.mark.parametrize("utility", EVERY, ids=str)
def test_torch_gradient_is_the_numerical_one(utility):
    table, step = scores(1, (PROMPTS, 2, MEMBERS)), 1e-6
    numeric = np.zeros_like(table.members)
    for cell in np.ndindex(numeric.shape):
        bump = np.zeros_like(numeric)
        bump[cell] = step
        up, down = (
            utility_of(utility, replace(table, members=table.members + sign * bump)).sum()
            for sign in (1, -1)
        )
        numeric[cell] = (up - down) / (2 * step)
    members = torch.tensor(table.members, requires_grad=True)
    tensors = Scores(members, head_std=torch.tensor(table.head_std))
    utility_of(utility, tensors).sum().backward()
    np.testing.assert_allclose(members.grad.numpy(), numeric, atol=VALUE)


@pytest.mark.parametrize("utility", EVERY, ids=str)
def test_gradients_at_ties_are_finite(utility):
    members = torch.ones((PROMPTS, 2, MEMBERS), dtype=torch.float64, requires_grad=True)
    utility_of(utility, Scores(members, head_std=torch.ones_like(members))).sum().backward()
    assert members.grad.isfinite().all()


@pytest.mark.parametrize("utility", EVERY, ids=str)
def test_flat_batches_tables_and_populations_are_the_same_cells(utility):
    table = scores()
    binding = uniform_binding(utility, table)
    here = utility(table, binding)
    flat = Scores(table.members.reshape(-1, MEMBERS), head_std=table.head_std.reshape(-1, MEMBERS))
    rows = np.repeat(binding.prompt_variance[:, 0], here.shape[1])
    np.testing.assert_array_equal(
        utility(flat, replace(binding, prompt_variance=rows)), here.ravel()
    )
    runs = Scores(np.stack([table.members] * 2), head_std=np.stack([table.head_std] * 2))
    np.testing.assert_array_equal(utility(runs, binding), np.stack([here] * 2))
    assert utility(table, binding).shape == (PROMPTS, here.shape[1])


@pytest.mark.parametrize("utility", SHIFT_EQUIVARIANT, ids=str)
def test_a_constant_passes_through(utility):
    table = scores()
    moved = utility_of(utility, replace(table, members=table.members + 3.5))
    np.testing.assert_allclose(moved, utility_of(utility, table) + 3.5, atol=ROUNDING)


@pytest.mark.parametrize("utility", MONOTONE, ids=str)
def test_better_scores_are_never_worse(utility):
    table = scores()
    for member in range(MEMBERS):
        better = table.members.copy()
        better[..., member] += np.abs(scores(2).members[..., member])
        gain = utility_of(utility, replace(table, members=better)) - utility_of(utility, table)
        assert gain.min() >= -EXACT
    # The bounds by moments are not monotone: a better member may widen the spread.
    assert LCB(2.0)(Scores(np.array([0.0, 9.0]))) < LCB(2.0)(Scores(np.array([0.0, 0.0])))


@pytest.mark.parametrize("utility", EVERY, ids=str)
def test_utilities_compare_and_hash(utility):
    assert utility == replace(utility)
    assert hash(utility) == hash(replace(utility))
    assert type(utility).__name__ in str(utility)
    assert utility.level == ("policy" if isinstance(utility, PolicyWorstMix) else "sample")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LCB(-1.0), "`beta` must be >= 0, got -1"),
        (lambda: LCB(float("inf")), "`beta` must be finite, got inf"),
        (lambda: UWO(-0.5), "`lam` must be >= 0, got -0.5"),
        (lambda: UWO(float("nan")), "`lam` must be finite, got nan"),
        (lambda: Member(4)(scores()), "`index` must be a member between 0 and 3, got 4"),
        (lambda: Member(-1)(scores()), "`index` must be a member between 0 and 3, got -1"),
        (lambda: LCB()(Scores(np.zeros((2, 1)))), "`members` must be at least 2 members"),
        (
            lambda: MinStdHead()(Scores(np.zeros((2, 2)))),
            "`scores.head_std` must be given, got None",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("utility", EVERY, ids=str)
def test_what_a_utility_needs_it_asks_for(utility):
    if not utility.needs:
        np.testing.assert_array_equal(utility(scores()), utility_of(utility, scores()))
        return
    for name in utility.needs:
        binding = replace(uniform_binding(utility, scores()), **{name: None})
        with pytest.raises(UnboundError, match=f"needs `{name}`"):
            utility(scores(), binding)
