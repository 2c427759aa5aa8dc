"""Gold return against KL: what each objective buys, exactly, and what PPO gets of it."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from figures.study import estimate
from theory import style
from theory.penalties import AT_KL, TargetKL
from theory.presets import PRESETS

SEEDS = {"toy": 128, "tiny": 512}
DISTANCES = (0.1, 0.3, 0.6, 1.0, 1.4, 1.8)
TRAINED = (0.3, 1.4)
STEPS = 120
COLOURS = {
    "vanilla": style.BLACK,
    "ensemble_mean": style.BLUE,
    "wco": style.ORANGE,
    "reward_robust": style.GREEN,
    "variance_aware": style.PURPLE,
    "adaptive": style.VERMILION,
}
ORACLE = "true reward"
OVER = ("over_mean", "over_low", "over_high")


def compute(setting: Setting) -> pd.DataFrame:
    """Gold return of exact optima and of PPO at the same distances, means over seeds.

    `over_mean` is the exact optimum's return minus that of the plain mean's, paired by seed.
    """
    from bandits.grid import Grid
    from bandits.optimisers import PPO, Exact
    from theory.scores import Scores

    world, seeds = Grid(), list(range(setting.seed, setting.seed + setting.count(SEEDS)))
    _, log_reference, scores = world.prepare(seeds)
    truth = Scores(world.gold.expand_as(log_reference)[..., None].contiguous())

    def returns(name: str, optimiser: Any, distance: float) -> np.ndarray:
        objective = PRESETS["vanilla" if name == ORACLE else name](TargetKL(distance))
        known = truth if name == ORACLE else scores
        policy, _, _ = world.prepare(seeds)
        steps = optimiser.optimise(objective, known, log_reference, policy, seeds, STEPS, STEPS)
        learned = list(steps)[-1][1].exp()
        return np.asarray((learned * world.gold).sum(-1).mean(-1).numpy())

    rows = []
    for distance in DISTANCES:
        plain = returns("ensemble_mean", Exact(), distance)
        for name in (ORACLE, *COLOURS):
            exact = returns(name, Exact(), distance)
            row = {"objective": name, "kl": distance, "seeds": len(seeds)}
            over = dict(zip(OVER, estimate(exact - plain), strict=True))
            rows.append({**row, "optimiser": "exact", **estimate(exact)._asdict(), **over})
            if name != ORACLE and distance in TRAINED:
                trained = returns(name, PPO(), distance)
                rows.append({**row, "optimiser": "PPO", **estimate(trained)._asdict()})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Lines are exact optima, points PPO; differences to the plain mean on the right."""
    left, right = canvas.subplots(1, 2)
    exact, trained = (table[table.optimiser == kind] for kind in ("exact", "PPO"))
    best = exact[exact.objective == ORACLE]
    left.plot(best.kl, best["mean"], "k--", lw=1, label=ORACLE)
    for name, colour in COLOURS.items():
        line, points = (part[part.objective == name] for part in (exact, trained))
        left.plot(line.kl, line["mean"], color=colour, label=name)
        errors = (points["mean"] - points.low, points.high - points["mean"])
        left.errorbar(points.kl, points["mean"], yerr=errors, fmt="o", color=colour, ms=3)
        if name != "vanilla":
            right.plot(line.kl, line.over_mean, color=colour)
            right.fill_between(
                line.kl, line.over_low, line.over_high, color=colour, alpha=0.15, lw=0
            )
    left.set(xlabel="KL to the reference, nats", ylabel="true return")
    right.set(xlabel="KL to the reference, nats", ylabel="true return over the plain mean")
    left.legend(loc="lower right")


def caption(table: pd.DataFrame) -> str:
    """The range of objectives, and how far PPO is from exact."""
    means = table.pivot(index=["objective", "kl"], columns="optimiser", values="mean")
    gap = (means.PPO - means.exact).dropna()
    far = TRAINED[-1]
    at = means.exact.xs(far, level="kl").drop(ORACLE)
    return (
        f"8x8 grid, two comparisons a prompt, four reward models, {int(table.seeds.max())} seeds "
        "(draws); bands and bars are 95% intervals over seeds. Left, lines: exact optima of each "
        f"objective at a target KL ({AT_KL}); dashed: of the true "
        "reward; points: PPO steered to the same KL, "
        f"{gap.min():+.3f} to {gap.max():+.3f} of true return from its exact optimum. Right: "
        "differences of exact optima to that of the plain mean, paired by seed; one reward model "
        f"is off the scale. At {far:g} nats the objectives lie between {at.min():.3f} "
        f"({at.idxmin()}) and {at.max():.3f} ({at.idxmax()}), the plain mean at "
        f"{at['ensemble_mean']:.3f}."
    )


FIGURE = Figure(
    "beyond.frontier", "", "True return against KL for every objective",
    {"toy": 12, "tiny": 60}, (style.TEXT, 3.2), compute, draw, caption,
)  # fmt: skip
