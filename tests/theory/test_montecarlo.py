"""Streaming simulation: the same numbers for any number of workers, in constant memory."""

import tracemalloc

import numpy as np
import pytest
from joblib import parallel_config

from tests.tolerance import ALPHA, mc
from theory.errors import InputError
from theory.montecarlo import BLOCK_ROWS, block_generator, normal_rows, simulate
from theory.return_sampler import return_sampler
from theory.streaming import Events, Moments

EDGES = {"z": np.linspace(-2, 2, 9)}


def kernel(rng, rows):
    z = rng.standard_normal(rows)
    return {"positive": z > 0, "z": z, "square": z**2}


def run(draws=5000, seed=0, **options):
    return simulate(kernel, draws, rng=np.random.default_rng(seed), **options)


def assert_same(first, second):
    assert first.events == second.events
    assert first.moments == second.moments
    for name, kept in first.histograms.items():
        np.testing.assert_array_equal(kept.counts, second.histograms[name].counts)
        assert kept.outside == second.histograms[name].outside


def test_processes_do_not_change_a_bit():
    assert_same(run(20_000, edges=EDGES), run(20_000, edges=EDGES, workers=2))


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_threads_do_not_change_a_bit(workers):
    sampler = return_sampler(
        np.linspace(0, 1, 60), np.linspace(1, 3, 60), unaware_eps=1.0, aware_eps=1.0, prompts=2
    )
    edges = {"aware": np.linspace(-1, 1, 5)}
    with parallel_config(backend="threading"):
        alone, together = (
            simulate(sampler, 9001, rng=np.random.default_rng(0), workers=w, edges=edges)
            for w in (1, workers)
        )
    assert_same(alone, together)


def test_a_block_is_drawn_from_the_seed_and_its_number():
    rows, blocks = 100, (0, 1)
    entropy = np.random.default_rng(0).integers(2**32, size=4).tolist()
    drawn = [kernel(block_generator(entropy, i), rows) for i in blocks]
    found = run(len(blocks) * rows, block_rows=rows)
    first, second = (Moments.of(block["z"]) for block in drawn)
    assert found.moments["z"] == first.merge(second)
    first, second = (Events.of(block["positive"]) for block in drawn)
    assert found.events["positive"] == first.merge(second)


def test_seed_block_size_and_earlier_calls_change_the_draws():
    rng = np.random.default_rng(0)
    first, second = (simulate(kernel, 5000, rng=rng).moments for _ in range(2))
    assert first == run().moments
    assert first != second
    assert first != run(seed=1).moments
    assert first != run(block_rows=100).moments


def test_numbers_are_right():
    draws = 200_000
    found = run(draws, edges=EDGES)
    assert 0.5 in found.events["positive"].interval(ALPHA)
    assert 0.0 in found.moments["z"].interval(ALPHA)
    assert 1.0 in found.moments["square"].interval(ALPHA)
    assert abs(found.moments["square"].variance() - 2) <= mc(56**0.5, draws)


@pytest.mark.parametrize("draws", [1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 4001])
def test_every_draw_is_counted_once(draws):
    found = run(draws, edges=EDGES)
    assert found.moments["z"].draws == found.events["positive"].draws == draws
    assert found.histograms["z"].counts.sum() + found.histograms["z"].outside == draws


def test_memory_does_not_grow_with_the_draws():
    def peak(draws):
        tracemalloc.start()
        run(draws)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(1000)
    assert peak(100_000) < 2 * peak(10_000)


def test_rows_are_independent_standard_normals_in_float32():
    rows = normal_rows(block_generator([1], 0), 3, 2)
    assert rows.shape == (3, 2)
    assert rows.dtype == np.float32
    assert not np.array_equal(rows, normal_rows(block_generator([1], 1), 3, 2))
    sample = normal_rows(block_generator([2], 0), 50_000, 2).astype(float)
    np.testing.assert_allclose(sample.mean(0), 0, atol=mc(1.0, 50_000))
    np.testing.assert_allclose(np.cov(sample.T), np.eye(2), atol=mc(2**0.5, 50_000))


def test_the_generator_is_sfc64():
    assert isinstance(block_generator([1], 0).bit_generator, np.random.SFC64)


def test_progress_wraps_the_tasks():
    seen = []

    def watch(tasks):
        for task in tasks:
            seen.append(len(task))
            yield task

    run(40 * BLOCK_ROWS, progress=watch)
    assert seen == [16, 16, 8]


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        (lambda: run(0), "draws"),
        (lambda: run(block_rows=0), "block_rows"),
        (lambda: run(edges={"zz": np.linspace(0, 1, 3)}), "edges"),
    ],
)
def test_bad_input(wrong, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        wrong()
