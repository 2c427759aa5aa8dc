"""Summaries of blocks merge to the summary of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.tolerance import ALPHA, EXACT, ROUNDING
from theory.errors import InputError
from theory.intervals import clopper_pearson, mean_interval
from theory.streaming import Events, Histogram, Moments

SAMPLES = hnp.arrays(float, st.integers(3, 40), elements=st.floats(-1e3, 1e3))
EDGES = np.array([-100.0, -1.0, 0.0, 0.5, 100.0])


def parts(sample, data):
    """The sample cut into three blocks that are not empty."""
    first = data.draw(st.integers(1, len(sample) - 2))
    second = data.draw(st.integers(first + 1, len(sample) - 1))
    return np.split(sample, [first, second])


@given(SAMPLES, st.data())
def test_merged_moments_are_those_of_the_whole(sample, data):
    first, second, third = (Moments.of(part) for part in parts(sample, data))
    for merged in (first.merge(second).merge(third), first.merge(second.merge(third))):
        scale = np.abs(sample).max()
        assert merged.draws == len(sample)
        np.testing.assert_allclose(merged.mean, sample.mean(), atol=EXACT * scale)
        np.testing.assert_allclose(
            merged.variance(), sample.var(ddof=1), rtol=ROUNDING, atol=EXACT * scale**2
        )
        np.testing.assert_allclose(merged.sd(ddof=0) ** 2, merged.variance(ddof=0), atol=EXACT)


@given(SAMPLES, st.data())
def test_merged_counts_are_those_of_the_whole(sample, data):
    blocks = parts(sample, data)
    first, second, third = (Events.of(part > 0) for part in blocks)
    assert first.merge(second).merge(third) == Events.of(sample > 0)
    first, second, third = (Histogram.of(part, EDGES) for part in blocks)
    merged, whole = first.merge(second).merge(third), Histogram.of(sample, EDGES)
    np.testing.assert_array_equal(merged.counts, whole.counts)
    assert merged.outside == whole.outside
    assert whole.counts.sum() + whole.outside == len(sample)


def test_moments_of_float32_are_taken_in_float64():
    sample = np.float32(1e6) + np.arange(250, dtype=np.float32) / 16
    assert abs(Moments.of(sample).variance() / sample.astype(float).var(ddof=1) - 1) <= EXACT


def test_a_far_mean_does_not_cancel():
    sample = 1e9 + np.arange(100.0)
    merged = Moments.of(sample[:30]).merge(Moments.of(sample[30:]))
    assert abs(merged.variance() / np.arange(100.0).var(ddof=1) - 1) <= ROUNDING


def test_intervals_are_those_of_the_sample():
    events = Events.of(np.array([True, False, True]))
    assert events.frequency == 2 / 3
    assert events.interval(ALPHA) == clopper_pearson(2, 3, ALPHA)
    sample = np.arange(10.0)
    expected = mean_interval(4.5, float(sample.std(ddof=1)), 10, ALPHA)
    np.testing.assert_allclose(Moments.of(sample).interval(ALPHA), expected, atol=EXACT)


def test_bins_are_closed_on_the_left_and_the_last_on_both_sides():
    found = Histogram.of(np.array([0.0, 0.5, 1.0, 1.1, -0.1, np.nan]), np.array([0.0, 0.5, 1.0]))
    assert found.counts.tolist() == [1, 2]
    assert found.outside == 3


def test_density_counts_the_draws_outside():
    found = Histogram.of(np.array([0.1, 0.5, 2.0, 3.0]), np.array([0.0, 0.25, 1.0]))
    np.testing.assert_allclose(found.density() @ np.diff(found.edges), 0.5, atol=EXACT)
    np.testing.assert_allclose(found.density(), [1.0, 1 / 3], atol=EXACT)


@pytest.mark.parametrize("ddof", [1, 2])
def test_too_few_draws_have_no_variance(ddof):
    with pytest.raises(InputError, match="`draws`"):
        Moments.of(np.ones(ddof)).variance(ddof=ddof)
