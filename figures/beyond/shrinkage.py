"""Estimated variances: when to plug them in, when to shrink them."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from theory.harm import harm_probability
from theory.shrinkage import shrink_variance
from theory.streaming import Moments
from theory.style import BLACK, BLUE, GREEN, TEXT, VERMILION
from theory.variance_spread import plug_in_harm

CELLS, REWARD_SD = 1000, 0.3
RANGES = {"(3, 100)": (3.0, 100.0), "(70, 100)": (70.0, 100.0)}
MEMBERS = (3, 4, 5, 6, 8, 10, 15, 20, 30, 50)
PLUG_IN_LIMIT_FROM = 6
"""Fewer members have no law of many cells: the estimate of 1/S has infinite variance."""
REPEATS = {"toy": 40, "tiny": 400}
LEVEL = 0.05
LIMIT = "plug-in, many cells"
STYLES = {
    "plug-in": {"color": VERMILION, "fmt": "o-"},
    LIMIT: {"color": VERMILION, "fmt": "x:"},
    "shrunken": {"color": BLUE, "fmt": "s-"},
    "variances ignored": {"color": BLACK, "fmt": "--"},
    "variances known": {"color": GREEN, "fmt": "-."},
}


def compute(setting: Setting) -> pd.DataFrame:
    """P(harm), exact for each problem and each estimate of S, averaged over problems."""
    records = []
    for label, limits in RANGES.items():
        rng = setting.rng(f"shrinkage {label}")
        problems = [_problem(limits, rng) for _ in range(REPEATS[setting.scale])]
        for members in MEMBERS:
            harms = pd.DataFrame([_harms(*problem, members, rng) for problem in problems])
            for rule, values in harms.items():
                moments = Moments.of(values.to_numpy())
                low, high = moments.interval(LEVEL)
                records.append(
                    {"variances": label, "members": members, "rule": rule,
                     "value": moments.mean, "low": low, "high": high, "problems": moments.draws}
                )  # fmt: skip
    return pd.DataFrame(records)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One panel a range of variances."""
    axes = canvas.subplots(1, 2, sharey=True)
    for ax, (label, part) in zip(axes, table.groupby("variances", sort=False), strict=True):
        for rule, style in STYLES.items():
            rows = part[part.rule == rule]
            ax.plot(rows.members, rows.value, style["fmt"], color=style["color"], label=rule)
            ax.fill_between(rows.members, rows.low, rows.high, color=style["color"], alpha=0.15,
                            lw=0)  # fmt: skip
        ax.set(xscale="log", title=f"variances in {label}")
        ax.set_xticks((3, 5, 10, 20, 50), ("3", "5", "10", "20", "50"))
        ax.minorticks_off()
        ax.set_xlabel("reward models k")
    axes[0].set(ylabel="P(harm)", ylim=(0, None))
    handles, labels = axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=5, columnspacing=1)


def caption(table: pd.DataFrame) -> str:
    """What the means are over, and k = 10 in numbers."""
    ten = table[table.members == 10]
    numbers = "; ".join(
        f"S in {label}: " + ", ".join(f"{row.rule} {row.value:.4f}" for row in part.itertuples())
        for label, part in ten.groupby("variances", sort=False)
    )
    return (
        f"Probability that the policy is worse than its reference, {CELLS} cells, rewards "
        f"N(0, {REWARD_SD}^2), variances estimated from k members. The plug-in rule loses to "
        "ignoring the variances when members are few or variances alike; empirical-Bayes "
        "shrinkage of them does not. Dotted: the plug-in rule in the limit of many cells, which "
        f"exists from k = {PLUG_IN_LIMIT_FROM}. At k = 10: {numbers}. Means over "
        f"{int(table.problems.max())} problems of draws of r and S, bands are 95% intervals of "
        "the mean; P(harm) of each problem is exact."
    )


def _problem(
    limits: tuple[float, float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """True rewards and variances."""
    return rng.normal(0, REWARD_SD, CELLS), rng.uniform(*limits, CELLS)


def _harms(
    reward: np.ndarray, variances: np.ndarray, members: int, rng: np.random.Generator
) -> dict[str, float]:
    """P(harm) by rule, for one estimate of the variances."""
    dof = members - 1
    estimate = variances * rng.chisquare(dof, CELLS) / dof
    weights = {
        "variances ignored": np.ones(CELLS),
        "plug-in": 1 / estimate,
        "shrunken": 1 / shrink_variance(estimate, dof),
        "variances known": 1 / variances,
    }
    harms = {rule: harm_probability(weight, reward, variances) for rule, weight in weights.items()}
    if members >= PLUG_IN_LIMIT_FROM:
        harms[LIMIT] = plug_in_harm(reward, variances, members)
    return harms


FIGURE = Figure(
    "beyond.shrinkage", "", "Estimated variances need shrinkage",
    {"toy": 2, "tiny": 15}, (TEXT, 2.8), compute, draw, caption,
)  # fmt: skip
