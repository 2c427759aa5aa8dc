"""Streaming simulation: the same numbers for any number of workers, in constant memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tolerance import ALPHA, ROUNDING
from theory.errors import InputError
from theory.montecarlo import block_generator, normal_rows, simulate
from theory.streaming import Events, Histogram, Moments


def kernel(rng, rows):
    z = rng.standard_normal(rows)
    return {"positive": z > 0, "z": z, "square": z**2}


def run(draws=5000, seed=0, **options):
    return simulate(kernel, draws, rng=np.random.default_rng(seed), **options)


def test_workers_do_not_change_the_numbers():
    edges = {"z": np.linspace(-2, 2, 9)}
    alone, together = (run(workers=w, edges=edges) for w in (1, 2))
    assert alone.events == together.events
    assert alone.moments == together.moments
    np.testing.assert_array_equal(alone.histograms["z"].counts, together.histograms["z"].counts)


def test_the_seed_and_the_block_size_do():
    assert run().moments != run(seed=1).moments
    assert run().moments != run(block_rows=100).moments


def test_numbers_are_right():
    found = run(200_000)
    assert 0.5 in found.events["positive"].interval(ALPHA)
    assert 0.0 in found.moments["z"].interval(ALPHA)
    assert 1.0 in found.moments["square"].interval(ALPHA)
    assert found.events["positive"].draws == 200_000


@pytest.mark.parametrize("draws", [1, 249, 250, 251, 4001])
def test_every_draw_is_counted_once(draws):
    found = run(draws, edges={"z": np.array([-9.0, 0.0, 9.0])})
    assert found.moments["z"].draws == draws
    assert found.histograms["z"].counts.sum() + found.histograms["z"].outside == draws


def test_memory_does_not_grow_with_the_draws():
    def peak(draws):
        tracemalloc.start()
        run(draws)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(1000)
    assert peak(400_000) < 3 * peak(20_000)


def test_blocks_have_streams_of_their_own():
    first, second = (block_generator([1, 2], i).random(4) for i in (0, 1))
    assert not np.array_equal(first, second)
    assert normal_rows(block_generator([1], 0), 3, 2).dtype == np.float32


def test_progress_wraps_the_tasks():
    seen = []

    def watch(tasks):
        for task in tasks:
            seen.append(task)
            yield task

    run(10_000, progress=watch)
    assert len(seen) == 3  # 40 blocks in tasks of 16


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40), st.integers(1, 39))
def test_merged_moments_are_those_of_the_whole(values, cut):
    sample = np.array(values)
    cut = min(cut, len(sample) - 1)
    merged = Moments.of(sample[:cut]).merge(Moments.of(sample[cut:]))
    assert merged.draws == len(sample)
    np.testing.assert_allclose(merged.mean, sample.mean(), rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_allclose(
        merged.squared_deviations, ((sample - sample.mean()) ** 2).sum(), rtol=ROUNDING, atol=1e-6
    )


def test_merged_counts_are_those_of_the_whole():
    happened = np.array([True, False, True, True])
    assert Events.of(happened[:1]).merge(Events.of(happened[1:])) == Events.of(happened)
    values, edges = np.array([0.1, 0.5, 2.0]), np.array([0.0, 0.5, 1.0])
    merged = Histogram.of(values[:1], edges).merge(Histogram.of(values[1:], edges))
    whole = Histogram.of(values, edges)
    np.testing.assert_array_equal(merged.counts, whole.counts)
    assert merged.outside == whole.outside == 1
    np.testing.assert_allclose(whole.density(), [2 / 3, 2 / 3])


@pytest.mark.parametrize(
    "wrong",
    [lambda: run(0), lambda: run(block_rows=0), lambda: Moments.of(np.ones(1)).variance()],
)
def test_bad_input(wrong):
    with pytest.raises(InputError):
        wrong()
