"""Strengths that end at one KL, found from a scan."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tolerance import EXACT
from theory.errors import InputError
from theory.matching import matched_beta


@given(st.floats(0.5, 3), st.floats(0.2, 5), st.floats(0.15, 0.85), st.permutations(range(6)))
def test_a_power_law_is_matched_exactly(power, scale, place, order):
    betas = np.geomspace(0.01, 1.0, 6)
    wanted = float(np.exp(np.log(0.01) + place * np.log(100.0)))
    found = matched_beta(betas[order], (scale * betas**-power)[order], scale * wanted**-power)
    assert found == pytest.approx(wanted, rel=EXACT)


def test_the_crossing_of_the_strongest_penalty_is_taken():
    """KL need not fall as beta grows: here 2 is passed between 1 and .1, and again below."""
    betas, reached = np.array([1.0, 0.1, 0.01, 0.001]), np.array([1.0, 4.0, 1.0, 8.0])
    assert matched_beta(betas, reached, 2.0) == pytest.approx(10**-0.5, rel=EXACT)


def test_a_scanned_strength_that_meets_the_target():
    betas, reached = np.array([0.1, 1.0]), np.array([3.0, 2.0])
    assert matched_beta(betas, reached, 2.0) == pytest.approx(1.0, rel=EXACT)
    assert matched_beta(betas, reached, 3.0) == pytest.approx(0.1, rel=EXACT)


@pytest.mark.parametrize(("target", "hint"), [(9.0, "scan smaller"), (0.5, "scan larger")])
def test_targets_outside_the_scan(target, hint):
    with pytest.raises(InputError, match=f"target.*between those of the scan.*{hint}"):
        matched_beta(np.array([0.1, 1.0]), np.array([3.0, 2.0]), target)


def test_distances_that_are_none():
    with pytest.raises(InputError, match="distances"):
        matched_beta(np.array([0.1, 1.0]), np.array([3.0, 0.0]), 1.0)
