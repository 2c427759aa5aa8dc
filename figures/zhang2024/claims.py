"""Paired differences at the end of each search, and the paper's claims against them."""

from collections.abc import Mapping
from itertools import permutations

import pandas as pd

from figures.figure import Finding, verdict
from figures.study import Estimate, difference
from figures.zhang2024.runs import AGGREGATIONS, INDEPENDENT, KINDS, LINEAR, LORA, MEAN, SINGLE

SEARCHES = ("best-of-n", "PPO")
MARGIN = 0.02
"""Win rates closer than two points count as similar."""


def paired(rows: pd.DataFrame, column: str, variant: str = "aggregation") -> pd.DataFrame:
    """Differences of all that share their kind or their `variant`, paired by seed."""
    found = []
    for optimiser, part in rows.groupby("optimiser", sort=False):
        end = part[part.effort == part.effort.max()]
        named = end.assign(objective=end["kind"] + ", " + end[variant])
        every = named.drop_duplicates("objective")[["objective", "kind", variant]]
        for one, other in permutations(every.itertuples(index=False, name=None), 2):
            if one[1] == other[1] or one[2] == other[2]:
                numbers = difference(named, one[0], other[0], column)
                found.append(
                    {"optimiser": optimiser, "first": one[0], "second": other[0],
                     "metric": f"{column} difference", **numbers._asdict(),
                     "seeds": part.seed.nunique()}
                )  # fmt: skip
    return pd.DataFrame(found)


def between(
    table: pd.DataFrame, optimiser: str, first: tuple[str, str], second: tuple[str, str]
) -> Estimate:
    """First minus second, each a kind and a variant."""
    part = table[(table.optimiser == optimiser) & (table["first"] == ", ".join(first))]
    row = part[part.second == ", ".join(second)].iloc[0]
    return Estimate(float(row["mean"]), float(row.low), float(row.high))


def kinds_between(
    table: pd.DataFrame, first: str, second: str, variant: str = MEAN
) -> dict[str, Estimate]:
    """First kind minus second in the same variant, by search."""
    return {name: between(table, name, (first, variant), (second, variant)) for name in SEARCHES}


def said(numbers: Mapping[str, Estimate]) -> str:
    """Estimates, each with the search that it is of."""
    return " and ".join(f"{found} under {name}" for name, found in numbers.items())


def kind_findings(table: pd.DataFrame) -> list[Finding]:
    """Ensembles against one model, and against each other."""
    over = {kind: kinds_between(table, kind, SINGLE) for kind in KINDS}
    alike = kinds_between(table, LORA, INDEPENDENT)
    better = kinds_between(table, LORA, LINEAR)
    return [
        Finding(
            "Every kind of ensemble wins more often than one reward model.",
            "Minus one model: "
            + "; ".join(f"{kind} {said(numbers)}" for kind, numbers in over.items())
            + ".",
            verdict([found.low > 0 for numbers in over.values() for found in numbers.values()]),
        ),
        Finding(
            "LoRA does as well as independent members.",
            f"LoRA minus independent {said(alike)}.",
            verdict([found.low > -MARGIN for found in alike.values()]),
        ),
        Finding(
            "LoRA does better than linear layers on one trunk.",
            f"LoRA minus linear {said(better)}.",
            verdict([found.low > 0 for found in better.values()]),
        ),
    ]


def aggregation_findings(table: pd.DataFrame) -> list[Finding]:
    """A lower confidence bound against the mean."""
    bounds = [name for name in AGGREGATIONS if name != MEAN]
    found = {
        (kind, bound): {
            name: between(table, name, (kind, bound), (kind, MEAN)) for name in SEARCHES
        }
        for kind in KINDS
        for bound in bounds
    }
    every = [number for numbers in found.values() for number in numbers.values()]
    return [
        Finding(
            "A lower confidence bound and the mean do about equally well.",
            "Minus the mean, "
            + "; ".join(f"{kind}, {bound}: {said(numbers)}"
                        for (kind, bound), numbers in found.items())
            + f". Similar means within {MARGIN:g}.",
            verdict([number.low > -MARGIN and number.high < MARGIN for number in every]),
        )
    ]  # fmt: skip
