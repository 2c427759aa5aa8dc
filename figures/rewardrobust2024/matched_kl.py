"""Every objective on the 8x8 grid at the same distance from the reference, solved exactly."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from theory import style
from theory.comparison import ALL
from theory.intervals import clopper_pearson
from theory.optimum import solve
from theory.penalties import AT_KL, TargetKL
from theory.presets import PRESETS

SEEDS = {"toy": 128, "tiny": 1024}
DISTANCES = (1.0, 1.5)
LEVEL = 0.05


def compute(setting: Setting) -> pd.DataFrame:
    """Mean gold return over seeds, and the share of seeds right for all prompts."""
    from bandits.grid import Grid

    world, seeds = Grid(), range(setting.seed, setting.seed + setting.count(SEEDS))
    _, log_reference, scores = world.prepare(seeds)
    gold, rows = world.gold.numpy(), []
    for name in ALL:
        for distance in DISTANCES:
            solution = solve(PRESETS[name](TargetKL(distance)), log_reference, scores)
            policy = solution.policy_or_nan.numpy()[solution.solved]
            returns = (policy * gold).sum(-1).mean(-1)
            right = (policy.argmax(-1) == gold.argmax(-1)).all(-1)
            half = 1.96 * returns.std(ddof=1) / np.sqrt(len(returns))
            interval = clopper_pearson(int(right.sum()), len(right), LEVEL)
            rows.append(
                {"objective": name, "kl": distance, "gold": returns.mean(),
                 "gold_low": returns.mean() - half, "gold_high": returns.mean() + half,
                 "full": right.mean(), "full_low": float(interval.low),
                 "full_high": float(interval.high), "seeds": len(seeds),
                 "unattainable": int((~solution.solved).sum())}
            )  # fmt: skip
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Return on the left, share of flawless actors on the right, at the larger distance."""
    axes = canvas.subplots(1, 2, sharey=True)
    part = table[table.kl == max(DISTANCES)].iloc[::-1].reset_index(drop=True)
    for ax, what, label in zip(
        axes, ("gold", "full"), ("true return", "share of seeds right for all prompts"), strict=True
    ):
        errors = (part[what] - part[f"{what}_low"], part[f"{what}_high"] - part[what])
        ax.errorbar(part[what], part.index, xerr=errors, fmt="o", color=style.BLUE, ms=3)
        ax.set_xlabel(label)
    axes[0].set_yticks(part.index, part.objective)


def caption(table: pd.DataFrame) -> str:
    """Against the mean, which the paper leaves out."""
    far = table[table.kl == max(DISTANCES)].set_index("objective")
    missing = int(table.unattainable.sum())
    return (
        f"Exact optima at {max(DISTANCES):g} nats of KL ({AT_KL}), two comparisons "
        f"a prompt, four reward models, {int(table.seeds.max())} seeds (draws). Left: mean "
        "true return with 95% intervals over seeds; right: share of seeds with 95% "
        "Clopper-Pearson intervals. All objectives see the same reward models, so differences are "
        f"smaller than the intervals suggest. One model {far.gold['vanilla']:.3f}, "
        f"robust mix {far.gold['reward_robust']:.3f}, plain mean {far.gold['ensemble_mean']:.3f}."
        + (f" {missing} runs had no policy at their distance." if missing else "")
    )


FIGURE = Figure(
    "rewardrobust2024.matched_kl", "", "Every objective at matched KL on the 8x8 toy",
    {"toy": 15, "tiny": 120}, (style.TEXT, 3.4), compute, draw, caption,
)  # fmt: skip
