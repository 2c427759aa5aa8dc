"""Why the smallest random reward harms less than one: how spread rewards are, and who minds."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting, verdict
from figures.rewardrobust2024.claims import estimates, positive, said
from figures.rewardrobust2024.noise_runs import NO_BETA, SFT, STEPS, differences, trained
from figures.rewardrobust2024.random_rewards import HEADS, LOOKS
from figures.study import curves
from theory import style
from theory.order_statistics import gaussian_max_std

SEEDS = {"toy": 36, "tiny": 256}
RULES = ("mean", "min", "max", "random")
SPREADS = dict(
    zip(RULES, (HEADS**-0.5, gaussian_max_std(HEADS), gaussian_max_std(HEADS), 1.0), strict=True)
)
"""Standard deviation of the reward of one sample."""
SIZES: dict[str, dict[str, Any]] = {
    "plain gradient": {"descent": "sgd", "learning_rate": 0.1},
    "plain gradient, whitened": {"descent": "sgd", "learning_rate": 0.1, "whiten": True},
    "Adam, whitened": {"whiten": True},
}
ASIDE = {"min": -0.03, "max": 0.03}
LOOK = {
    "plain gradient": (style.BLUE, "o"),
    "plain gradient, whitened": (style.ORANGE, "s"),
    "Adam, whitened": (style.VERMILION, "^"),
}


def compute(setting: Setting) -> pd.DataFrame:
    """Fall at the end by optimiser and rule, and paired differences between rules."""
    from bandits.random_rewards import RandomRewards

    seeds = list(range(setting.seed, setting.seed + setting.count(SEEDS)))
    tables = []
    for name, options in SIZES.items():
        rows = trained(RandomRewards(rules=RULES, heads=HEADS, **options), NO_BETA, seeds, STEPS)
        ends = curves(rows, ("drop",)).assign(kind="level")
        tables += [table.assign(optimiser=name) for table in (ends, differences(rows))]
    table = pd.concat(tables, ignore_index=True)
    return table.assign(spread=table.objective.map(SPREADS))


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Fall against the spread of the reward."""
    ax = canvas.subplots()
    levels = table[table.kind == "level"]
    for shift, (name, (colour, marker)) in zip((-0.006, 0, 0.006), LOOK.items(), strict=True):
        rows = levels[levels.optimiser == name]
        errors = np.array([rows["mean"] - rows.low, rows.high - rows["mean"]])
        where = rows.spread + shift + rows.objective.map(ASIDE).fillna(0)
        ax.errorbar(where, rows["mean"], yerr=errors, fmt=marker, color=colour,
                    label=name)  # fmt: skip
    ax.set(xlabel="standard deviation of a sample's reward", ylim=(0, None), xlim=(0.4, 1.05),
           ylabel="fall of the best response's probability")  # fmt: skip
    for rule, spread in SPREADS.items():
        ax.annotate(
            LOOKS[rule][2].replace(" ", "\n", 1), (spread + 2 * ASIDE.get(rule, 0), 1.01),
            xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=7,
        )  # fmt: skip
    canvas.legend(loc="outside lower center", ncols=2)


def caption(table: pd.DataFrame) -> str:
    """What is compared."""
    return (
        f"Noise for rewards as in Fig. 4b, without a KL penalty, {STEPS} iterations from a "
        f"reference that gives the best response probability {SFT:g}. The smallest and the largest "
        f"of {HEADS} heads have the same spread, which is smaller than that of one head and larger "
        "than that of the mean. Whitening divides advantages by their standard deviation; Adam "
        f"divides gradients by theirs. {int(table.seeds.max())} seeds (draws), 95% intervals over "
        "seeds; points are set apart sideways."
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """A matter of spread: the largest does as well, and scale-free steps see no difference."""
    plain = next(iter(SIZES))
    gaps = estimates(table, "optimiser", kind="end", metric="drop", objective="random − min")
    other, mean = (
        estimates(table, "optimiser", kind="end", metric="drop", objective=name)[plain]
        for name in ("min − max", "min − mean")
    )
    return [
        Finding(
            "With random rewards the smallest of several heads harms less than one head.",
            f"Fall under one head minus that under the smallest: {said(gaps)}.",
            verdict(map(positive, gaps.values())),
        ),
        Finding(
            "It is the narrower range of the rewards that protects.",
            f"Fall by {plain}, under the smallest minus that under the largest, equally narrow, "
            f"{other}; minus that under the mean, narrower still, {mean}.",
            verdict((positive(gaps[plain]), positive(mean), other.low < 0 < other.high)),
        ),
    ]


FIGURE = Figure(
    "rewardrobust2024.reward_noise", "", "Random rewards and the scale of steps",
    {"toy": 8, "tiny": 30}, (style.COLUMN, 3.0), compute, draw, caption, findings,
)  # fmt: skip
