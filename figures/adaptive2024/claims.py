"""The claims of the training figures against their numbers."""

import pandas as pd

from figures.adaptive2024.readings import BASELINES, reading
from figures.adaptive2024.runs import READINGS
from figures.adaptive2024.worlds import CALIBRATED, MISCALIBRATED, REFERENCE
from figures.figure import Finding, verdict

PRINTED = {CALIBRATED: 0.5, MISCALIBRATED: 1.0}
"""Improvement over standard RLHF that the paper reports [adaptive2024, sec. 5]."""


def training_findings(table: pd.DataFrame) -> list[Finding]:
    """Gain, distance, decline and pessimism; an adaptive claim is asked of both readings."""
    return [_gain(table), _weights(table), _distance(table), _decline(table), _pessimism(table)]


def _gain(table: pd.DataFrame) -> Finding:
    printed = PRINTED[str(table.ensemble.iloc[0])]
    base, said, holds = reading(table, "standard", "end"), [], []
    for method in READINGS:
        more = reading(table, method, "gold - standard")
        share = more.mean / base.mean
        said.append(f"{method}: {more} more, or {share:+.0%}, and "
                    f"{reading(table, method, 'gold - mean')} more than the mean")  # fmt: skip
        holds += [more.low > 0, share >= printed]
    return Finding(
        f"The adaptive coefficient ends with {printed:.0%} more true reward than standard RLHF.",
        f"Standard ends at {base}; " + "; ".join(said) + ".",
        verdict(holds),
    )


def _weights(table: pd.DataFrame) -> Finding:
    pairs = [
        (method, stage, reading(table, method, f"{stage} - mean"))
        for method in READINGS
        for stage in ("steered", "exact")
    ]
    return Finding(
        "The gain over the plain mean comes from the weights: it is there at equal KL.",
        "True reward at one KL: "
        + "; ".join(f"{method} minus mean, {stage}, {found}" for method, stage, found in pairs)
        + ".",
        verdict([found.low > 0 for *_, found in pairs]),
    )


def _distance(table: pd.DataFrame) -> Finding:
    pairs = [
        (method, other, reading(table, method, f"KL - {other}"))
        for method in READINGS
        for other in BASELINES
    ]
    return Finding(
        "The adaptive coefficient stays nearer to the reference than all baselines.",
        "KL of " + "; ".join(f"{method} minus {other} {d}" for method, other, d in pairs) + ".",
        verdict([found.high < 0 for *_, found in pairs]),
    )


def _decline(table: pd.DataFrame) -> Finding:
    falls = {method: reading(table, method, "fall") for method in ("standard", *READINGS)}
    return Finding(
        "The adaptive coefficient keeps its true reward where standard RLHF loses it again.",
        "From the highest point of the mean curve to the end: "
        + "; ".join(f"{method} loses {fall}" for method, fall in falls.items()) + ".",
        verdict([falls[method].low <= 0 < falls["standard"].low for method in READINGS]),
    )  # fmt: skip


def _pessimism(table: pd.DataFrame) -> Finding:
    others = ("standard", "mean")
    against = {other: reading(table, "pessimistic", f"gold - {other}") for other in others}
    return Finding(
        "The smallest of the members is a worse reward than one model and than the mean.",
        "Pessimistic minus "
        + "; minus ".join(f"{other} {found}" for other, found in against.items())
        + f"; it loses {reading(table, 'pessimistic', 'fall')} from its highest point.",
        verdict([found.high < 0 for found in against.values()]),
    )


def spread_findings(table: pd.DataFrame) -> list[Finding]:
    """Does the members' spread grow with the distance, and only in one ensemble?"""
    parts = {str(name): part for name, part in table.groupby("ensemble", sort=False)}
    ranks = {name: reading(part, REFERENCE, "calibration") for name, part in parts.items()}
    growth = {name: reading(part, "mean", "growth") for name, part in parts.items()}
    return [
        Finding(
            "Members that differ in all their weights know where they err; members that share "
            "their error do not.",
            "Rank correlation of spread and error: "
            + "; ".join(f"{name} {found}" for name, found in ranks.items()) + ".",
            verdict([ranks[CALIBRATED].low > 0, ranks[MISCALIBRATED].high <= 0]),
        ),
        Finding(
            "Spread grows with KL in the calibrated ensemble and stays the same in the other.",
            "Spread at the end over spread at the reference, minus 1, under the mean: "
            + "; ".join(f"{name} {found}" for name, found in growth.items()) + ".",
            verdict([growth[CALIBRATED].low > 0,
                     growth[CALIBRATED].low > growth[MISCALIBRATED].high]),
        ),
    ]  # fmt: skip
