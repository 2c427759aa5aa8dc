"""Scores: moments, centring, scaling, shrinkage, and what is refused."""

import re
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from tests.laws import ALL, penalised
from tests.theory.draws import MEMBERS, as_torch, log_distribution, scores, tables
from tests.tolerance import EXACT, FLOAT32, ROUNDING
from theory.arrays import to_numpy
from theory.errors import InputError
from theory.optimum import solve
from theory.scores import Scores
from theory.shrinkage import shrink_variance

REFERENCE = log_distribution()


def refused(*words):
    return pytest.raises(InputError, match=".*".join(re.escape(word) for word in words))


@settings(max_examples=40)
@given(tables())
def test_moments_are_those_of_the_members(members):
    table = Scores(members)
    assert table.k == members.shape[-1]
    rows = members.reshape(-1, table.k).tolist()
    for found, moment in [
        (table.mean(), statistics.fmean),
        (table.var(), statistics.variance),
        (table.var(0), statistics.pvariance),
        (table.std(), statistics.stdev),
        (table.std(ddof=0), statistics.pstdev),
    ]:
        expected = [moment(row) for row in rows]
        np.testing.assert_allclose(found.ravel(), expected, rtol=ROUNDING, atol=ROUNDING)


@settings(max_examples=20)
@given(tables())
def test_moments_agree_on_torch_and_on_any_batch(members):
    table = Scores(members)
    flat = Scores(members.reshape(-1, table.k))
    tensors = as_torch(table)
    for moment in (Scores.mean, Scores.var, Scores.std):
        np.testing.assert_allclose(moment(tensors).numpy(), moment(table), atol=ROUNDING)
        np.testing.assert_array_equal(moment(flat), moment(table).ravel())
    one = Scores(members[0, 0])
    np.testing.assert_allclose([one.mean(), one.std()], [table.mean()[0, 0], table.std()[0, 0]])


def test_identical_members_have_std_zero_with_gradient_zero():
    members = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    std = Scores(members).std()
    std.sum().backward()
    assert std.tolist() == [0.0, 0.0]
    assert members.grad.abs().max() == 0


def test_a_known_variance_is_used():
    table = Scores.known(np.array([1.0, 2.0]), np.array([0.5, 3.0]))
    assert table.k == 1
    assert table.mean().tolist() == [1.0, 2.0]
    assert table.var().tolist() == [0.25, 9.0]
    assert table.std(0).tolist() == [0.5, 3.0]
    np.testing.assert_array_equal(table.covariance("diagonal"), np.diag([0.25, 9.0]))


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_a_known_covariance_is_used_whole_and_for_the_variance(kind):
    covariance = np.array([[2.0, 0.5], [0.5, 1.0]])
    table = Scores(kind([[1.0, 2.0, 3.0], [0.0, 0.0, 9.0]]), known_covariance=kind(covariance))
    assert table.var().tolist() == [2.0, 1.0]
    for method in ("ledoit_wolf", "diagonal"):
        np.testing.assert_array_equal(table.covariance(method), covariance)


@settings(max_examples=40)
@given(tables())
def test_centred_scores_have_mean_zero_under_the_reference(members):
    log_reference = log_distribution(shape=members.shape[:-1])
    table = Scores(members).centred(log_reference)
    weights = np.exp(log_reference)[..., None]
    scale = 1 + np.abs(members).max()
    assert np.abs((weights * table.members).sum(-2)).max() < ROUNDING * scale
    # One constant a prompt and member has been subtracted, and only that.
    removed = members - table.members
    assert np.ptp(removed, axis=-2).max() < ROUNDING * scale
    again = table.centred(log_reference)
    np.testing.assert_allclose(again.members, table.members, atol=ROUNDING * scale)


def test_centring_forgets_a_constant_of_each_prompt_and_member():
    table = scores()
    shifted = replace(
        table, members=table.members + np.random.default_rng(1).normal(size=(3, 1, 4))
    )
    expected = table.centred(REFERENCE).members
    np.testing.assert_allclose(shifted.centred(REFERENCE).members, expected, atol=EXACT)
    there = as_torch(shifted).centred(torch.tensor(REFERENCE))
    np.testing.assert_allclose(there.members.numpy(), expected, atol=EXACT)
    np.testing.assert_array_equal(there.head_std.numpy(), table.head_std)


def test_centring_weighs_by_a_reference_with_zeros_and_over_populations():
    log_reference = np.log(np.where(np.arange(5) < 2, 0.5, 1e-300))
    log_reference[2:] = -np.inf
    table = scores(shape=(2, 3, 5, 4))
    offset = table.members - table.centred(log_reference).members
    expected = table.members[..., :2, :].mean(-2, keepdims=True)
    np.testing.assert_allclose(offset, np.broadcast_to(expected, offset.shape), atol=EXACT)


@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4), (2, 3, 5, 4)])
def test_standardised_members_have_variance_one_over_all_prompts(shape):
    log_reference = log_distribution(shape=shape[:-1])
    table = scores(shape=shape)
    table = replace(table, members=table.members * [1e-3, 1.0, 7.0, 1e3] + [5.0, 0.0, -1.0, 2.0])
    found = table.standardised(log_reference)
    weights = np.exp(log_reference)[..., None]
    second = (weights * found.members**2).sum(-2)
    if len(shape) > 2:
        second = second.mean(-2)
    assert np.abs(second - 1).max() < ROUNDING
    assert np.abs((weights * found.members).sum(-2)).max() < ROUNDING
    restored = found.members * (table.head_std / found.head_std)
    centred = table.centred(log_reference).members
    np.testing.assert_allclose(restored, centred, rtol=ROUNDING)
    there = as_torch(table).standardised(torch.tensor(log_reference))
    np.testing.assert_allclose(there.members.numpy(), found.members, atol=ROUNDING)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("constant", [0.0, 0.1, -123.4])
def test_a_member_without_spread_stays_at_zero(dtype, constant):
    members = scores().members.astype(dtype)
    members[..., 2] = constant
    found = Scores(members).standardised(REFERENCE.astype(dtype)).members
    assert found.dtype == dtype
    assert np.abs(found[..., 2]).max() <= FLOAT32
    assert np.abs(found[..., 1]).max() > 1


@pytest.mark.parametrize("name", ["known_variance", "known_covariance"])
def test_a_known_variance_does_not_survive_rescaling(name):
    known = {"known_variance": np.ones((3, 5)), "known_covariance": np.eye(5) + np.zeros((3, 5, 5))}
    with refused(f"`{name}` must be unset", "standardise first"):
        replace(scores(), **{name: known[name]}).standardised(REFERENCE)


def test_shrinking_pulls_variances_together_once():
    table = scores()
    shrunk = table.shrunk()
    assert np.var(np.log(shrunk.var())) < np.var(np.log(table.var()))
    np.testing.assert_array_equal(shrunk.members, table.members)
    np.testing.assert_array_equal(shrunk.var(), shrink_variance(table.var(), MEMBERS - 1))
    raw = table.shrunk(ddof=0)
    np.testing.assert_array_equal(raw.var(), shrink_variance(table.var(0), MEMBERS))
    np.testing.assert_array_equal(shrunk.shrunk().var(), shrunk.var())
    np.testing.assert_array_equal(shrunk.covariance("diagonal")[0], np.diag(shrunk.var()[0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shrinking_keeps_the_kind_of_array(dtype):
    table = as_torch(scores(), dtype=dtype)
    shrunk = table.shrunk()
    assert shrunk.var().dtype == dtype
    np.testing.assert_allclose(shrunk.var().numpy(), scores().shrunk().var(), rtol=FLOAT32)


def test_copies():
    table = replace(scores(), known_variance=np.ones((3, 5)))
    back = as_torch(table).numpy()
    for name in ("members", "head_std", "known_variance"):
        np.testing.assert_array_equal(getattr(back, name), getattr(table, name))
    assert back.known_covariance is None
    assert isinstance(back.members, np.ndarray)
    one = Scores(np.ones((5, 4)), known_covariance=np.eye(5)).with_prompt_axis()
    assert one.members.shape == (1, 5, 4)
    assert one.known_covariance.shape == (1, 5, 5)
    assert one.head_std is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_scores_that_are_not_finite_are_refused(bad, kind):
    with refused("`members` must be finite", "1 NaN or infinite of 4 entries", "(1, 0)"):
        Scores(kind([[0.0, 1.0], [bad, 2.0]]))
    with refused("`head_std` must be finite"):
        Scores(kind([[0.0, 1.0]]), head_std=kind([[bad, 1.0]]))
    with refused("`known_variance` must be finite"):
        Scores(kind([[0.0, 1.0]]), known_variance=kind([bad]))


@pytest.mark.usefixtures("without_shape_annotations")
@pytest.mark.parametrize(
    ("name", "shape", "wanted"),
    [("head_std", (3, 5), (3, 5, 4)), ("known_variance", (3, 4), (3, 5)),
     ("known_covariance", (5, 5), (3, 5, 5))],
)  # fmt: skip
def test_shapes_that_do_not_match_the_members(name, shape, wanted):
    with refused(f"`{name}` must be of shape {wanted}", "members (3, 5, 4)", f"got {shape}"):
        Scores(np.zeros((3, 5, 4)), **{name: np.ones(shape)})


@pytest.mark.usefixtures("without_shape_annotations")
@pytest.mark.parametrize("shape", [(), (3, 0)])
def test_scores_need_a_member(shape):
    with refused("`members` must be of shape (*cells, k) with k >= 1", str(shape)):
        Scores(np.zeros(shape))


def test_negative_spreads_are_refused():
    with refused("`head_std` must be >= 0, got a minimum of -1"):
        Scores(np.zeros((2, 2)), head_std=-np.ones((2, 2)))
    with refused("`known_variance` must be >= 0, got a minimum of -1"):
        Scores(np.zeros((2, 2)), known_variance=-np.ones(2))
    with refused("`std` must be >= 0, got a minimum of -1"):
        Scores.known(np.zeros(2), np.array([1.0, -1.0]))
    with refused("`known_covariance` must be positive definite", "smallest eigenvalue of -1"):
        Scores(np.zeros((2, 2)), known_covariance=np.diag([1.0, -1.0]))


def test_a_covariance_needs_several_members_even_where_variances_are_known():
    with refused("`members`", "at least 2", "use method='diagonal', or pass known_covariance"):
        Scores.known(np.zeros(2), np.ones(2)).covariance("sample")


@pytest.mark.parametrize("method", [Scores.var, Scores.std, Scores.shrunk, Scores.covariance])
def test_one_member_has_no_variance(method):
    with refused("`members` must be at least 2 members for a variance with ddof=1, got k = 1",
                 "known_variance"):  # fmt: skip
        method(Scores(np.zeros((3, 5, 1))))


def test_one_member_has_a_variance_without_correction():
    assert Scores(np.zeros((2, 1))).var(ddof=0).tolist() == [0.0, 0.0]


def test_numpy_and_torch_do_not_mix():
    with refused("mix of numpy and torch"):
        Scores(np.zeros((2, 2)), known_variance=torch.ones(2))
    with refused("mix of numpy and torch"):
        as_torch(scores()).centred(REFERENCE)


@pytest.mark.usefixtures("without_shape_annotations")
def test_centring_needs_a_distribution_over_the_responses():
    with refused("`exp(log_reference)` must be probabilities that sum to 1", "off by +4"):
        scores().centred(np.zeros((3, 5)))
    with refused("`log_reference`", "`members` of shape (3, 5)", "got (3, 4)"):
        scores().centred(log_distribution(shape=(3, 4)))


@pytest.mark.usefixtures("without_shape_annotations")
def test_lists_are_refused():
    with refused("`arrays` must be NumPy or torch arrays", "list"):
        Scores([[0.0, 1.0]])


RATINGS = np.array([[[1, 2, 3], [2, 2, 2], [1, 1, 5]]])
THIRDS = np.log(np.full((1, 3), 1 / 3))
KINDS = [
    np.int8, np.uint8, np.int64, np.bool_, np.float16, np.float32, np.longdouble,
    torch.int32, torch.bool, torch.bfloat16, torch.float16, torch.float32,
]  # fmt: skip


def cast(values, dtype):
    return (
        torch.tensor(values).to(dtype) if isinstance(dtype, torch.dtype) else values.astype(dtype)
    )


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.float16, torch.int32], ids=str)
@pytest.mark.parametrize("name", ALL)
def test_ratings_of_any_dtype_are_the_floats_that_they_hold(name, dtype):
    if name == "covariance_aware" or name == "safe":
        pytest.importorskip("cvxpy")
    given = cast(RATINGS > 1 if "bool" in str(dtype) else RATINGS, dtype)
    held = to_numpy(given).astype(float)
    std = cast(np.array([[[1, 2, 1], [2, 1, 1], [1, 1, 3]]]), dtype)
    log_reference = cast(THIRDS, torch.float64) if isinstance(given, torch.Tensor) else THIRDS
    found = solve(penalised(name), log_reference, Scores(given, head_std=std))
    expected = solve(penalised(name), THIRDS, Scores(held, head_std=to_numpy(std).astype(float)))
    np.testing.assert_allclose(to_numpy(found.policy), expected.policy, atol=FLOAT32)


@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_scores_are_floats_of_one_dtype(dtype):
    members = cast(np.ones((2, 3)), dtype)
    wide = cast(np.ones(2), torch.float64 if isinstance(dtype, torch.dtype) else float)
    found = Scores(members, head_std=members, known_variance=wide)
    assert found.members.dtype == found.head_std.dtype == found.known_variance.dtype == wide.dtype
    assert Scores(wide[:, None]).members is not None
    kept = wide[:, None]
    assert Scores(kept).members is kept


@pytest.mark.parametrize(
    "members",
    [
        np.array([[2**53 + 1, 0]]), np.array([[-(2**62), 0]]), np.array([[2**64 - 1]], np.uint64),
        torch.tensor([[2**60]]), np.array([["1"]]), np.array([[1j]]), np.array([[None]]),
        np.array([[1]], "datetime64[s]"), torch.ones((1, 1), dtype=torch.complex64),
    ],
    ids=str,
)  # fmt: skip
def test_what_no_float_holds_is_refused(members):
    with pytest.raises(InputError, match="members"):
        Scores(members)


def test_known_standard_deviations_may_be_small_integers():
    found = Scores.known(np.array([1, 2]), np.array([100, 100], np.int8))
    np.testing.assert_array_equal(found.var(), [1e4, 1e4])
