"""Estimates over runs of what methods reach, and of paired differences between them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from figures.figure import Setting
from figures.study import Estimate, estimate
from figures.ugda2025 import runs
from figures.ugda2025.runs import Method


def compared(
    setting: Setting,
    methods: Mapping[str, Method | None],
    columns: Sequence[str],
    pairs: Sequence[tuple[str, str]] = (),
    noise: float = 0.0,
) -> pd.DataFrame:
    """Rows of estimates: of each method, and of first minus second, paired by run.

    The method None is the reference. Columns: method, against (empty for none), metric, mean, low,
    high, seeds, labels (a run's).
    """
    found = {
        name: runs.reference_rows(setting, noise)
        if method is None
        else runs.rows(setting, method, noise)
        for name, method in methods.items()
    }
    rows = []
    for name, table in found.items():
        labels = int(table.labels.iloc[0]) if "labels" in table else 0
        rows += [
            {"method": name, "against": "", "metric": column, **estimate(table[column])._asdict(),
             "seeds": len(table), "labels": labels}
            for column in columns if column in table
        ]  # fmt: skip
    for first, second in pairs:
        for column in columns:
            if column in found[first] and column in found[second]:
                gap = found[first][column].to_numpy() - found[second][column].to_numpy()
                rows.append(
                    {"method": first, "against": second, "metric": column,
                     **estimate(gap)._asdict(), "seeds": len(gap)}
                )  # fmt: skip
    return pd.DataFrame(rows)


def level(table: pd.DataFrame, method: str, metric: str = "gold") -> Estimate:
    """What a method reached."""
    return _one(table[table.against.isna() | (table.against == "")], method, metric)


def gap(table: pd.DataFrame, first: str, second: str, metric: str = "gold") -> Estimate:
    """First minus second."""
    return _one(table[table.against == second], first, metric)


def levels(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows of all methods' levels."""
    alone = table.against.isna() | (table.against == "")
    return table[alone & (table.metric == metric)]


def errors(rows: pd.DataFrame) -> np.ndarray:
    """Bars of estimates, for `errorbar`."""
    return np.array([rows["mean"] - rows.low, rows.high - rows["mean"]])


def grid_note(table: pd.DataFrame) -> str:
    """What the runs and intervals of all these figures are."""
    return (
        f"8×8 grid, gold rewards are independent normal numbers, {runs.MEMBERS} low-rank members, "
        f"{runs.PAIRS} comparisons a prompt; the first half of the prompts stands for 'helpful', "
        f"the second for 'harmless'. {int(table.seeds.max())} runs (draws) in {runs.WORLDS} "
        "worlds; 95% intervals over runs, for these worlds."
    )


def _one(table: pd.DataFrame, method: str, metric: str) -> Estimate:
    row = table[(table.method == method) & (table.metric == metric)].iloc[0]
    return Estimate(float(row["mean"]), float(row.low), float(row.high))
