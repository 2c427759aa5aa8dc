"""From rows of estimates to sentences and verdicts."""

from collections.abc import Mapping

import pandas as pd

from figures.study import Estimate


def positive(found: Estimate) -> bool:
    """Whether the whole interval lies above zero."""
    return found.low > 0


def estimates(table: pd.DataFrame, by: str, **where: object) -> dict[str, Estimate]:
    """The estimates of the rows whose columns have these values, by another column."""
    for column, value in where.items():
        table = table[table[column] == value]
    columns = [table[name] for name in (by, "mean", "low", "high")]
    return {str(key): Estimate(*numbers) for key, *numbers in zip(*columns, strict=True)}


def said(found: Mapping[str, Estimate]) -> str:
    """Estimates, each with what it is of."""
    return ", ".join(f"{numbers} ({name})" for name, numbers in found.items())
