"""Variances estimated from few reward models: plug-in, shrunken, known, or not used at all."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from theory.harm import harm_probability
from theory.shrinkage import shrink_variance
from theory.style import BLACK, BLUE, GREEN, TEXT, VERMILION

CELLS, REWARD_SD = 1000, 0.3
RANGES = {"(3, 100)": (3.0, 100.0), "(70, 100)": (70.0, 100.0)}
MEMBERS = (3, 4, 5, 6, 8, 10, 15, 20, 30, 50)
REPEATS = {"toy": 40, "tiny": 400}
RULES = {"unaware": BLACK, "plug-in": VERMILION, "shrunken": BLUE, "known": GREEN}


def compute(setting: Setting) -> pd.DataFrame:
    """Mean P(harm) over rewards, variances and ensembles; each P(harm) is exact."""
    repeats = REPEATS[setting.scale]
    records = []
    for label, (low, high) in RANGES.items():
        rng = setting.rng(f"shrinkage {label}")
        for _ in range(repeats):
            variances = rng.uniform(low, high, CELLS)
            reward = rng.normal(0, REWARD_SD, CELLS)
            for members in MEMBERS:
                dof = members - 1
                estimate = variances * rng.chisquare(dof, CELLS) / dof
                weights = {
                    "unaware": np.ones(CELLS),
                    "plug-in": 1 / estimate,
                    "shrunken": 1 / shrink_variance(estimate, dof),
                    "known": 1 / variances,
                }
                records += [
                    {"variances": label, "members": members, "rule": rule,
                     "harm": harm_probability(weight, reward, variances)}
                    for rule, weight in weights.items()
                ]  # fmt: skip
    harms = pd.DataFrame(records).groupby(["variances", "members", "rule"], sort=False).harm
    table = harms.agg(["mean", "std", "count"]).reset_index()
    half = 1.96 * table["std"] / np.sqrt(table["count"])
    return table.assign(low=table["mean"] - half, high=table["mean"] + half)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One panel a range of variances."""
    axes = canvas.subplots(1, 2)
    for ax, (label, part) in zip(axes, table.groupby("variances", sort=False), strict=True):
        for rule, colour in RULES.items():
            rows = part[part.rule == rule]
            ax.plot(rows.members, rows["mean"], "o-", color=colour, label=rule, ms=2.5)
            ax.fill_between(rows.members, rows.low, rows.high, color=colour, alpha=0.2, lw=0)
        ax.set(xscale="log", ylim=(0, None), title=f"variances in {label}")
        ax.set_xticks((3, 5, 10, 20, 50), ("3", "5", "10", "20", "50"))
        ax.minorticks_off()
        ax.set_xlabel("reward models k")
        ax.set_ylabel("P(harm)")
    handles, labels = axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=4)


def caption(table: pd.DataFrame) -> str:
    """Which repeats the means are over, and k = 10 in numbers."""
    ten = table[table.members == 10]
    numbers = "; ".join(
        f"S in {label}: " + ", ".join(f"{row.rule} {row['mean']:.4f}" for _, row in part.iterrows())
        for label, part in ten.groupby("variances", sort=False)
    )
    return (
        f"Probability that the policy is worse than its reference, {CELLS} cells, rewards "
        f"N(0, {REWARD_SD}^2), variances estimated from k members. The plug-in rule loses to "
        "ignoring variances when members are few or variances alike; empirical-Bayes shrinkage "
        f"repairs it. At k = 10: {numbers}. Means over {int(table['count'].max())} problems, bands "
        "are 95% intervals of the mean; P(harm) of each problem is exact."
    )


FIGURE = Figure(
    "beyond.shrinkage", "", "Estimated variances need shrinkage",
    {"toy": 2, "tiny": 15}, (TEXT, 2.6), compute, draw, caption,
)  # fmt: skip
