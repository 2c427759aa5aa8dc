import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.tolerance import EXACT, mc
from theory.errors import InputError
from theory.order_statistics import gaussian_max_mean
from theory.relabelling import (
    quantile_targets,
    quantile_targets_as_printed,
    select,
    top_fraction,
)

GPT4_SHARES = np.array([0.236, 0.223, 0.188, 0.192, 0.161])
"""Label shares of [ugda2025, Table 1]."""


SAMPLES, MEMBERS = 2000, 300


def labelled(shares):
    scores = np.random.default_rng(0).standard_normal((SAMPLES, MEMBERS))
    labels = np.repeat(np.arange(1, 6), np.round(shares * SAMPLES).astype(int))
    return scores, labels


def assert_mean(targets, exact):
    """The members are independent repeats of the mean target."""
    means = targets.mean(axis=0)
    assert means.mean() == pytest.approx(exact, abs=mc(float(means.std()), MEMBERS))


@given(st.integers(1, 200), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_selection_keeps_the_top_of_the_top(samples, gamma, eta, seed):
    variance, influence = np.random.default_rng(seed).random((2, samples))
    uncertain = top_fraction(variance, gamma)
    kept = select(variance, influence, gamma, eta)
    rest = np.setdiff1d(np.arange(samples), uncertain)
    if uncertain.size and rest.size:
        assert variance[uncertain].min() > variance[rest].max()
    assert set(kept) <= set(uncertain)
    assert np.all(np.diff(influence[kept]) <= 0)
    dropped = np.setdiff1d(uncertain, kept)
    if kept.size and dropped.size:
        assert influence[kept].min() > influence[dropped].max()


def test_a_quarter_is_kept_by_default_also_with_ties():
    assert select(np.arange(400.0), np.zeros(400)).size == 100
    np.testing.assert_array_equal(top_fraction(np.zeros(4), 0.5), [0, 1])
    assert top_fraction(np.arange(100.0), 0.29).size == 71


def test_influence_outside_the_uncertain_half_does_not_matter():
    variance = np.array([4.0, 3.0, 2.0, 1.0])
    first = select(variance, np.array([0.0, 1.0, 99.0, 99.0]))
    np.testing.assert_array_equal(first, [1])


def test_printed_targets_are_the_sample_maximum_and_biased_upward():
    scores, labels = labelled(np.full(5, 0.2))
    printed = quantile_targets_as_printed(scores, labels)
    np.testing.assert_array_equal(printed[-1], scores.max(axis=0))
    np.testing.assert_allclose(printed[0], np.quantile(scores, 0.2, axis=0), atol=EXACT)
    assert_mean(printed, gaussian_max_mean(SAMPLES) / 5)
    assert round(gaussian_max_mean(SAMPLES) / 5, 2) == 0.69


def test_mid_rank_targets_are_unbiased_for_equal_shares():
    scores, labels = labelled(np.full(5, 0.2))
    targets = quantile_targets(scores, labels)
    middle = np.quantile(scores, [0.1, 0.3, 0.5, 0.7, 0.9], axis=0)
    np.testing.assert_allclose(targets[:: SAMPLES // 5], middle, atol=EXACT)
    assert_mean(targets, 0.0)


def test_published_label_shares():
    """Printed targets are off by half a standard deviation, mid-rank targets by a hundredth."""
    scores, labels = labelled(GPT4_SHARES)
    quantiles = stats.norm.ppf([0.2, 0.4, 0.6, 0.8])
    biased = GPT4_SHARES[:4] @ quantiles + GPT4_SHARES[4] * gaussian_max_mean(SAMPLES)
    assert round(biased, 2) == 0.51
    assert_mean(quantile_targets_as_printed(scores, labels), biased)
    mid_rank = np.cumsum(GPT4_SHARES) - GPT4_SHARES / 2
    corrected = GPT4_SHARES @ stats.norm.ppf(mid_rank)
    assert round(corrected, 3) == 0.009
    assert_mean(quantile_targets(scores, labels), corrected)


def test_one_label_only_means_the_median():
    scores = np.random.default_rng(1).standard_normal((11, 3))
    targets = quantile_targets(scores, np.full(11, 4))
    np.testing.assert_allclose(targets, np.median(scores, axis=0)[None].repeat(11, 0), atol=EXACT)


def test_targets_follow_each_members_own_scale():
    scores, labels = labelled(np.full(5, 0.2))
    shifted = quantile_targets(scores * 2 + 5, labels)
    np.testing.assert_allclose(shifted, quantile_targets(scores, labels) * 2 + 5, atol=EXACT)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: top_fraction(np.array([np.nan]), 0.5), "values"),
        (lambda: top_fraction(np.zeros(2), 1.5), "threshold"),
        (lambda: select(np.zeros(2), np.array([np.nan, 0.0])), "values"),
        (lambda: quantile_targets(np.zeros((2, 1)), np.array([0, 1])), "labels"),
        (lambda: quantile_targets_as_printed(np.zeros((2, 1)), np.array([1, 6])), "labels"),
        (lambda: quantile_targets(np.full((2, 1), np.inf), np.array([1, 2])), "scores"),
    ],
)
def test_bad_input(call, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        call()
