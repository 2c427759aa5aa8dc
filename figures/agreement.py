"""When two tables of one figure agree: tolerances, by what a figure is computed from."""

import numpy as np
import pandas as pd

EXACT, TRAINED = 1e-5, 0.02
"""Relative tolerance of closed forms and of simulations in float64, whose seeds decide every draw;
and of what float32 training on the grid gives, in which processors part at the fourth digit and a
seed of a hundred may rank two responses otherwise."""
SMALL = 2e-3
"""Absolute tolerance beside it: returns and shares lie in [0, 1], distances are a few nats."""
DRAWN = ("banerjee2024.fig2", "banerjee2024.fig3", "banerjee2024.fig4", "banerjee2024.fig5",
         "beyond.harm_bound", "beyond.simplex_counterexample", "beyond.matched_step",
         "beyond.shrinkage", "adaptive2024.fig2", "ugda2025.table1")  # fmt: skip
"""Figures without training."""
SAMPLED = ("rewardrobust2024.fig4a", "rewardrobust2024.fig4b", "rewardrobust2024.fig6",
           "rewardrobust2024.fig7", "rewardrobust2024.fig9",
           "rewardrobust2024.reward_noise")  # fmt: skip
"""Figures of trainings in which rounding flips draws within twenty steps: intervals of estimates
need only overlap, and single runs may differ by anything. Measured with other vector instructions
over three to a few seeds: 0.03 in means whose half-widths are 0.05 to 0.2; where three seeds
happened to agree, five half-widths of theirs and 0.8 of the other run's; and a BRME head that is
another one. Limits of overlapping intervals are apart by at most twice the sum of half-widths."""
LANGUAGE = ("banerjee2024.fig7_lm", "beyond.unification", "beyond.language_curves")
"""Figures of language models, of which a token may be another on another processor."""
TIMED = {"zhang2024.cost": ("seconds",)}
"""Columns that measure the machine."""


def differences(
    key: str, expected: pd.DataFrame, found: pd.DataFrame, apart: float = 0.0
) -> list[str]:
    """Say where a figure's table differs from another of the same figure, beyond the tolerances.

    apart: half-widths of an interval by which numbers of trainings may be apart too.
    """
    if list(expected) != list(found) or len(expected) != len(found):
        return [f"{len(found)} rows of {list(found)}, not {len(expected)} of {list(expected)}"]
    wrong = different(key, expected, found, apart)
    return [
        f"{column}, row {row}: {found[column][row]}, not {expected[column][row]}"
        for column in wrong
        for row in np.flatnonzero(wrong[column])
    ]


def different(
    key: str, expected: pd.DataFrame, found: pd.DataFrame, apart: float = 0.0
) -> pd.DataFrame:
    """Mark the cells that differ beyond the tolerances, in tables of the same shape and columns."""
    relative, absolute = _tolerances(key)
    width = np.zeros(len(expected))
    if key not in DRAWN and {"low", "high"} <= set(expected):
        half, other = ((t.high - t.low).abs().to_numpy(float) / 2 for t in (expected, found))
        width = (
            np.nan_to_num(half + other, nan=1e9) if key in SAMPLED else apart * np.nan_to_num(half)
        )
    told = {}
    for column in expected.columns.drop(list(TIMED.get(key, ()))):
        ours, theirs = expected[column], found[column]
        if pd.api.types.is_numeric_dtype(ours) and pd.api.types.is_numeric_dtype(theirs):
            a, b = ours.to_numpy(float), theirs.to_numpy(float)
            allowed = absolute + (2 if key in SAMPLED and column in ("low", "high") else 1) * width
            told[column] = ~np.isclose(b, a, rtol=relative, atol=allowed, equal_nan=True)
        else:
            told[column] = (ours.fillna("").astype(str) != theirs.fillna("").astype(str)).to_numpy()
    return pd.DataFrame(told)


def _tolerances(key: str) -> tuple[float, float]:
    """Relative and absolute, of a figure."""
    if key in DRAWN:
        return EXACT, EXACT
    return (0.25, 0.1) if key in LANGUAGE else (TRAINED, SMALL)
