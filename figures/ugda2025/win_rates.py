"""Figs 2, 8 and 5: how often UGDA's responses win against each baseline's, by dimension."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting, verdict
from figures.study import Estimate, estimate
from figures.ugda2025 import runs
from figures.ugda2025.comparisons import grid_note
from figures.ugda2025.readings import outcomes
from figures.ugda2025.runs import EXACT, FLIPPED, QUARTER, TABLE, Method
from theory import style

DIMENSIONS = (64, 256, None)
"""Of the 1608 parameters of the policy; None projects nothing."""
BASELINES = {name: TABLE[name, QUARTER] for name in ("PPO", "LCB", "UWO", "RLR")}
TIE = 0.1
"""Gold rewards that are closer than this are a tie."""
OUTCOMES = {"win": style.GREEN, "tie": style.ORANGE, "lose": style.VERMILION}


def compute(setting: Setting, dimensions: tuple[int | None, ...], noise: float) -> pd.DataFrame:
    """Shares of wins, ties and losses by baseline and dimension; `net` is wins less losses."""
    rows = []
    for dimension in dimensions:
        ours = runs.policies(setting, Method(replace(EXACT, dimension=dimension)), noise)
        for name, method in BASELINES.items():
            theirs = runs.policies(setting, method, noise)
            parts = [
                outcomes(one, other, gold, TIE)
                for (gold, one), (_, other) in zip(ours, theirs, strict=True)
            ]
            shares = {key: np.concatenate([part[key] for part in parts]) for key in OUTCOMES}
            shares["net"] = shares["win"] - shares["lose"]
            rows += [
                {"baseline": name, "dimension": _said(dimension), "metric": metric,
                 **estimate(values)._asdict(), "seeds": len(values)}
                for metric, values in shares.items()
            ]  # fmt: skip
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Stacked shares, one panel a baseline."""
    axes = np.atleast_1d(canvas.subplots(1, len(BASELINES), sharey=True, sharex=True))
    names = list(dict.fromkeys(table.dimension.astype(str)))
    for ax, baseline in zip(axes, BASELINES, strict=True):
        left = np.zeros(len(names))
        for outcome, colour in OUTCOMES.items():
            rows = table[(table.baseline == baseline) & (table.metric == outcome)]
            ax.barh(range(len(names)), rows["mean"], left=left, color=colour, label=outcome)
            left = left + rows["mean"].to_numpy()
        ax.axvline(0.5, color=style.BLACK, lw=0.5, ls=":")
        ax.set(title=f"UGDA against {baseline}", xlim=(0, 1), xlabel="share")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylabel("dimension")
    handles, labels = axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=3)


def caption(table: pd.DataFrame, noise: float) -> str:
    """Judge, ties and dimensions."""
    flipped = f" {noise:.0%} of the comparisons are flipped." if noise else ""
    return (
        "Probability that a response of UGDA's policy wins against, ties with or loses to one of "
        "the baseline's (each with a random quarter relabelled); the judge is the gold reward, "
        f"differences below {TIE:g} are ties. By the dimension that gradients are projected to, of "
        f"1608 parameters ('all' projects nothing).{flipped} " + grid_note(table)
    )


def findings(table: pd.DataFrame, noise: float) -> list[Finding]:
    """UGDA wins more often than it loses, whatever the dimension."""
    net = {
        (str(row.baseline), str(row.dimension)): Estimate(row["mean"], row.low, row.high)
        for _, row in table[table.metric == "net"].iterrows()
    }
    largest = {name: number for (name, d), number in net.items() if d == _said(None)}
    said = "; ".join(f"{name}: {number}" for name, number in largest.items())
    found = [
        Finding(
            "UGDA's responses win against those of every baseline more often than they lose"
            + (", also with flipped preferences." if noise else ", at each dimension."),
            f"wins minus losses without a projection: {said}; over all dimensions between "
            f"{min(n.mean for n in net.values()):+.3f} and "
            f"{max(n.mean for n in net.values()):+.3f}.",
            verdict([number.low > 0 for number in net.values()]),
        )
    ]
    if len({dimension for _, dimension in net}) > 1:
        spread = [
            max(values) - min(values)
            for name in BASELINES
            for values in [[n.mean for (one, _), n in net.items() if one == name]]
        ]
        width = max(n.high - n.low for n in net.values())
        found.append(
            Finding(
                "The dimension of the projection matters (the paper tunes it by baseline).",
                f"largest range over dimensions {max(spread):.3f}, where one interval is up to "
                f"{width:.3f} wide.",
                verdict([max(spread) > width]),
            )
        )
    return found


def _said(dimension: int | None) -> str:
    return "all" if dimension is None else str(dimension)


def _figure(
    key: str, number: str, title: str, dimensions: tuple[int | None, ...], noise: float
) -> Figure:
    return Figure(
        f"ugda2025.{key}", number, title, {"toy": 8, "tiny": 25},
        (style.TEXT, 2.2), partial(compute, dimensions=dimensions, noise=noise), draw,
        partial(caption, noise=noise), partial(findings, noise=noise),
    )  # fmt: skip


FIGURES = (
    _figure("fig2", "Figs 2 and 8", "Wins by dimension of the projection", DIMENSIONS, 0.0),
    _figure("fig5", "Fig. 5", "Wins with flipped preferences", (None,), FLIPPED),
)
