"""What studies on populations share: rows of an experiment, and intervals over seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from theory.errors import InputError
from theory.experiment import World, run
from theory.intervals import clopper_pearson
from theory.objective import Objective

Z = 1.959964
"""Half-width of a 95% interval, in standard errors."""


class Estimate(NamedTuple):
    """A mean over seeds with its 95% interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def study(
    world: World | Mapping[str, World],
    objectives: Mapping[str, Objective],
    optimiser: Any,
    seeds: Sequence[int],
    *,
    steps: int,
    evaluate_every: int,
    workers: int = 1,
    out: Path | None = None,
) -> pd.DataFrame:
    """Give the rows of `theory.experiment.run`, in a folder that is kept and gone on in, or not."""
    with TemporaryDirectory() as folder:
        records = run(
            world, objectives, optimiser, seeds, steps=steps, evaluate_every=evaluate_every,
            out=out or Path(folder) / "records", resume=out is not None, workers=workers,
        )  # fmt: skip
        return records.rows()


def estimate(values: Any) -> Estimate:
    """Mean over seeds with a normal 95% interval; of truth values, a share with an exact one.

    Raises `InputError` for fewer than two numbers.

    >>> str(estimate([1.0, 2.0, 3.0])), str(estimate([True] * 64))
    ('2.000 [0.868, 3.132]', '1.000 [0.944, 1.000]')
    """
    numbers = np.asarray(values)
    if len(numbers) < 2:
        raise InputError("values", "at least two", len(numbers), "take more seeds")
    if numbers.dtype == bool:
        interval = clopper_pearson(int(numbers.sum()), len(numbers), 0.05)
        return Estimate(float(numbers.mean()), float(interval.low), float(interval.high))
    numbers = numbers.astype(float)
    half = Z * numbers.std(ddof=1) / np.sqrt(len(numbers))
    centre = float(numbers.mean())
    return Estimate(centre, float(centre - half), float(centre + half))


def difference(rows: pd.DataFrame, first: str, second: str, column: str = "gold") -> Estimate:
    """Mean of `first` minus `second`, paired by seed, among rows of one step."""
    table = rows.pivot(index="seed", columns="objective", values=column).astype(float)
    return estimate((table[first] - table[second]).dropna())


def curves(
    rows: pd.DataFrame, columns: Sequence[str], by: Sequence[str] = ("objective", "step")
) -> pd.DataFrame:
    """Estimates over seeds of several columns: `by`, then metric, mean, low, high and seeds."""
    found = []
    for keys, group in rows.groupby(list(by), sort=False):
        for column in columns:
            label = dict(zip(by, keys, strict=True))
            numbers = estimate(group[column])._asdict()
            found.append({**label, "metric": column, **numbers, "seeds": len(group)})
    return pd.DataFrame(found)
