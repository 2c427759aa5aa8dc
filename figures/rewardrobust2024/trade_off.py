"""Fig. 3: how much weight the nominal reward should have, at a short and a long budget."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from theory import style
from theory.objective import Objective
from theory.presets import ensemble_mean, reward_robust

SEEDS = {"toy": 128, "tiny": 512}
LAMS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
STEPS = {"short": 15, "long": 60}
BETA = 0.15
PRINTED = {
    "short": (0.40, 0.67, 1.00, 1.41, 0.81, 0.01),
    "long": (2.40, 2.41, 2.61, 2.22, 1.49, 0.19),
}
"""Mean improvement in percent after 200 and 800 steps [rewardrobust2024, Tables 1 and 2]."""


def compute(setting: Setting) -> pd.DataFrame:
    """Gain of true return over the reference, by lambda and budget, and of the plain mean."""
    from bandits.grid import Grid
    from bandits.optimisers import PPO

    world, seeds = Grid(), list(range(setting.seed, setting.seed + setting.count(SEEDS)))
    objectives: dict[float, Objective] = {lam: reward_robust(BETA, lam=lam) for lam in LAMS}
    objectives[np.nan] = ensemble_mean(BETA)
    gold, rows = world.gold, []
    for budget, steps in STEPS.items():
        for lam, objective in objectives.items():
            policy, log_reference, scores = world.prepare(seeds)
            found = PPO().optimise(objective, scores, log_reference, policy, seeds, steps, steps)
            moved = list(found)[-1][1].exp() - log_reference.exp()
            gain = (moved * gold).sum(-1).mean(-1).numpy()
            half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
            place = LAMS.index(lam) if lam in LAMS else None
            rows.append(
                {"budget": budget, "steps": steps, "lam": lam, "gain": gain.mean(),
                 "low": gain.mean() - half, "high": gain.mean() + half, "seeds": len(seeds),
                 "printed": np.nan if place is None else PRINTED[budget][place]}
            )  # fmt: skip
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """The toy on the left; what the paper prints for its benchmarks on the right."""
    ours, theirs = canvas.subplots(1, 2)
    colours = {"short": style.ORANGE, "long": style.BLUE}
    for budget, part in table.groupby("budget", sort=False):
        colour = colours[str(budget)]
        mixes, mean = part[part.lam.notna()], part[part.lam.isna()]
        label = f"{budget}: {int(part.steps.iloc[0])} iterations"
        ours.plot(mixes.lam, mixes.gain, "o-", color=colour, label=label)
        ours.fill_between(mixes.lam, mixes.low, mixes.high, color=colour, alpha=0.25, lw=0)
        ours.axhline(float(mean.gain.iloc[0]), color=colour, ls=":", lw=1)
        theirs.plot(mixes.lam, mixes.printed, "s--", color=colour)
    ours.set(xlabel="weight λ of the nominal reward", ylabel="gain of true return", title="8x8 toy")
    theirs.set(
        xlabel="weight λ of the nominal reward", ylabel="mean improvement, %", title="as printed"
    )
    ours.legend(loc="lower left")


def caption(table: pd.DataFrame) -> str:
    """Where the maximum is, and what the ablation says."""
    sentences = []
    for budget, part in table.groupby("budget", sort=False):
        mixes, mean = part[part.lam.notna()], float(part[part.lam.isna()].gain.iloc[0])
        best = mixes.sort_values("gain").iloc[-1]
        sentences.append(
            f"{str(budget).capitalize()} budget: largest gain {best.gain:.3f} at lambda "
            f"{best.lam:g}, {float(mixes[mixes.lam == 1].gain.iloc[0]):.3f} at lambda 1 (one "
            f"model), {mean:.3f} for the plain mean of four (dotted)."
        )
    return (
        f"Left: PPO on the 8x8 toy, {int(table.seeds.max())} seeds (draws), bands are 95% "
        "intervals over seeds. Right: the paper's mean improvement over its benchmarks after 200 "
        "and 800 steps, without intervals there. " + " ".join(sentences)
    )


FIGURE = Figure(
    "rewardrobust2024.fig3", "Fig. 3", "Weight of the nominal reward",
    {"toy": 15, "tiny": 60}, (style.TEXT, 2.5), compute, draw, caption,
)  # fmt: skip
