"""The numbers of the training figures that are not curves, into a table and out of it."""

import pandas as pd

from figures.adaptive2024 import runs
from figures.adaptive2024.worlds import REFERENCE
from figures.study import Estimate, difference, estimate

BASELINES = ("standard", "mean", "pessimistic")


def numbers(
    rows: pd.DataFrame, start: pd.DataFrame, matched: pd.DataFrame
) -> dict[tuple[str, str], Estimate]:
    """Estimates over seeds, paired where they compare, by method and what is measured."""
    end = rows[rows.step == rows.step.max()]
    stages = dict(list(matched.groupby("stage")))
    flawless = stages["low beta"].pivot(index="seed", columns="objective", values="full")
    found = {(REFERENCE, "calibration"): estimate(start.calibration)}
    for method in runs.METHODS:
        mine = rows[rows.objective == method]
        peak = mine.groupby("step").gold.mean().idxmax()
        by_step = mine.pivot(index="seed", columns="step", values="gold")
        found[method, "end"] = estimate(by_step[rows.step.max()])
        found[method, "fall"] = estimate(by_step[peak] - by_step[rows.step.max()])
        found[method, "as mean"] = estimate(flawless[method] == flawless["mean"])
        for other in BASELINES:
            if other != method:
                found[method, f"gold - {other}"] = difference(end, method, other)
                found[method, f"KL - {other}"] = difference(end, method, other, "kl")
        if method != "mean":
            for stage in ("steered", "exact"):
                found[method, f"{stage} - mean"] = difference(stages[stage], method, "mean")
    return found


def reading(table: pd.DataFrame, method: str, metric: str) -> Estimate:
    """One of the numbers of a table."""
    part = table[(table.stage == "reading") & (table.objective == method)]
    row = part[part.metric == metric].iloc[0]
    return Estimate(float(row["mean"]), float(row.low), float(row.high))
