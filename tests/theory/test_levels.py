import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.tolerance import EXACT
from theory.levels import Levels


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.int64, hnp.array_shapes(min_dims=1, max_dims=3), elements=st.integers(0, 3)),
    st.integers(0, 2**32 - 1),
)
def test_levels_agree_with_comparing_every_pair(cells, seed):
    rows = np.sort(cells.astype(float), axis=-1)
    values = np.random.default_rng(seed).standard_normal(rows.shape)
    same = rows[..., :, None] == rows[..., None, :]
    levels = Levels(rows)
    total = (same * values[..., None, :]).sum(-1)
    np.testing.assert_allclose(levels.total(values), total, atol=EXACT)
    np.testing.assert_allclose(levels.mean(values), total / same.sum(-1), atol=EXACT)
    last = (same * np.arange(rows.shape[-1])).max(-1)
    np.testing.assert_array_equal(levels.end(values), np.take_along_axis(values, last, axis=-1))
