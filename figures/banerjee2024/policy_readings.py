"""What the spread of true returns over policies says about the claims of Figs. 7 and 12."""

import numpy as np
import pandas as pd

from figures.banerjee2024.policy_runs import LABELS, MEMBERS
from figures.figure import Finding
from figures.study import Estimate

PRINTED = {
    4: "0.012 (text) or 0.016 (caption) against 0.06, ratios of sd 0.45 and 0.52",
    10: "0.016 against 0.038, a ratio of sds of 0.65",
}
"""Variances of the aware and of the vanilla policies, by trials a member."""
KINDS = {
    "data sets": "PPO, over {sets} data sets (t interval)",
    "exact": "exact optima, over {sets} data sets (t interval)",
    "one data set": "PPO, within the first data set (nested bootstrap)",
    "redrawn": "exact optima, one pool of data sets (nested bootstrap)",
}


def findings(table: pd.DataFrame) -> list[Finding]:
    """Spread, mean, the omitted mean of members, and the independence of the policies."""
    return [_spread(table), _mean(table), _ablation(table), _dependence(table)]


def contrast(table: pd.DataFrame, kind: str, split: str, method: str, statistic: str) -> Estimate:
    """One contrast with vanilla, with its interval."""
    row = table[
        (table.kind == kind) & (table.split == split) & (table.method == method)
        & (table.statistic == statistic) & table.low.notna()
    ].iloc[0]  # fmt: skip
    return Estimate(row.value, row.low, row.high)


def _spread(table: pd.DataFrame) -> Finding:
    found = [contrast(table, kind, split, "aware", "sd ratio")
             for kind in KINDS for split in ("same", "fresh")]  # fmt: skip
    smaller = [ratio.high < 1 for ratio in found]
    return Finding(
        "At equal KL the true return of variance-aware policies varies less from policy to "
        f"policy (variances {PRINTED[trials_of(table)]}).",
        f"Ratio of sds, variance-aware to vanilla: {_read(table, 'aware', 'sd ratio')}.",
        "reproduces" if all(smaller) else "in part" if any(smaller) else "differs",
    )


def _mean(table: pd.DataFrame) -> Finding:
    found = [contrast(table, kind, "same", "aware", "mean difference")
             for kind in ("data sets", "exact")]  # fmt: skip
    above = [difference.low > 0 for difference in found]
    return Finding(
        "That costs some mean return: the variance-aware mean is at most vanilla's.",
        f"Mean difference, variance-aware less vanilla: "
        f"{_read(table, 'aware', 'mean difference')}.",
        "differs" if all(above) else "in part" if any(above) else "reproduces",
    )


def _ablation(table: pd.DataFrame) -> Finding:
    spread, mean, aware = (
        {method: contrast(table, kind, "same", method, statistic) for method in ("aware", "mean")}
        for kind, statistic in (
            ("redrawn", "sd ratio"), ("redrawn", "mean difference"), ("data sets", "sd ratio"),
        )
    )  # fmt: skip
    better = (spread["mean"].mean < spread["aware"].mean, mean["mean"].mean > mean["aware"].mean)
    return Finding(
        "The weighted constraint is what to use an ensemble for (no policy is trained on the mean "
        "of its members).",
        "Policies trained on the plain mean of the same reward models, relative to vanilla: sd "
        f"ratio {aware['mean']} over policies of a data set and {spread['mean']} with data sets "
        f"redrawn too ({spread['aware']} for variance-aware), mean difference {mean['mean']} "
        f"({mean['aware']} for variance-aware).",
        "differs" if all(better) else "in part" if any(better) else "reproduces",
    )


def _dependence(table: pd.DataFrame) -> Finding:
    policies, trials = MEMBERS * trials_of(table), trials_of(table)
    shared = {method: min(max(float(share), 0.0), 1.0)
              for method, share in summary(table, "same")["shared"].items()}  # fmt: skip
    sizes = {method: policies / (1 + (trials - 1) * share) for method, share in shared.items()}
    worst = min(sizes["vanilla"], sizes["aware"])
    return Finding(
        f"The {policies} policies of a method are independent.",
        "; ".join(
            f"{LABELS[method].capitalize()}: {shared[method]:.0%} of the variance is shared by the "
            f"trials of a member, so that the mean of {policies} policies is as sure as that of "
            f"{sizes[method]:.0f} independent ones"
            for method in ("vanilla", "aware")
        )
        + f" (averages over {int(table.sets.min())} data sets).",
        "reproduces"
        if worst > 0.9 * policies
        else "in part"
        if worst > policies / 2
        else "differs",
    )


def _read(table: pd.DataFrame, method: str, statistic: str) -> str:
    """Every kind of inference, in both designs."""
    parts = []
    for kind, label in KINDS.items():
        same, fresh = (contrast(table, kind, split, method, statistic)
                       for split in ("same", "fresh"))  # fmt: skip
        sets = table.sets[table.kind == kind].max()
        name = label.format(sets="" if np.isnan(sets) else int(sets))
        parts.append(f"{name} {same}, with fresh data for each member {fresh}")
    return "; ".join(parts)


def summary(table: pd.DataFrame, split: str) -> pd.DataFrame:
    """Averages over data sets, a row a method."""
    part = table[(table.kind == "summary") & (table.split == split)]
    names = list(dict.fromkeys(part.method))
    return part.pivot(index="method", columns="statistic", values="value").loc[names]


def trials_of(table: pd.DataFrame) -> int:
    """PPO runs a member."""
    return int(table.trial.max()) + 1
