"""What members see of one data set."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.errors import InputError
from theory.splits import SPLITS, split_counts


def counts(split, members, comparisons, seed=0):
    return split_counts(split, members, comparisons, rng=np.random.default_rng(seed))


@given(st.integers(1, 6), st.integers(6, 40), st.integers(0, 10**6))
def test_totals(members, comparisons, seed):
    assert (counts("same", members, comparisons, seed) == 1).all()
    assert (counts("bootstrap", members, comparisons, seed).sum(1) == comparisons).all()
    parts = counts("disjoint", members, comparisons, seed)
    assert (parts.sum(0) == 1).all()
    assert np.ptp(parts.sum(1)) <= 1


def test_resamples_differ_and_leave_a_third_out():
    boot = counts("bootstrap", 50, 400)
    assert not np.array_equal(boot[0], boot[1])
    assert abs((boot == 0).mean() - np.exp(-1)) < 0.02


def test_bad_input():
    with pytest.raises(InputError, match="did you mean 'bootstrap'"):
        counts("bootstrp", 2, 4)
    with pytest.raises(InputError, match="3 comparisons"):
        counts("disjoint", 4, 3)
    assert set(SPLITS) == {"same", "bootstrap", "disjoint"}
