"""Fig. 8: training loss of a single reward model, and of ten heads on its frozen trunk."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.banerjee2024.reward_sets import MEMBERS
from figures.figure import Figure, Finding, Setting
from figures.study import Estimate, estimate
from theory.style import BLACK, BLUE, COLUMN, ORANGE

SEEDS = {"toy": 32}
STAGES = {"single": "single model", "heads": f"{MEMBERS} heads, mean of their losses"}
COLOURS = {"single": ORANGE, "heads": BLUE}
STOPS = {"single": 0.4, "heads": 0.2}
"""Losses at which the paper's appendix stops each stage; its text has 0.3 for the first."""


def compute(setting: Setting) -> pd.DataFrame:
    """Mean loss before every step, and the step at which it is low enough to stop."""
    seeds = range(setting.seed, setting.seed + setting.count(SEEDS))
    runs, rows = np.array([losses(seed) for seed in seeds]), []
    for stage, curves in zip(STAGES, np.moveaxis(runs, 1, 0), strict=True):
        labels = {"stage": stage, "seeds": len(seeds)}
        rows += [{**labels, "step": step, **estimate(values)._asdict()}
                 for step, values in enumerate(curves.T)]  # fmt: skip
        reached = curves < STOPS[stage]
        at = estimate(reached.argmax(-1)[reached.any(-1)])
        rows.append({**labels, "reached": reached.any(-1).mean(), **at._asdict()})
    return pd.DataFrame(rows)


def losses(seed: int) -> np.ndarray:
    """Losses (stages, steps) of one data set: of the first model, and per head of the second."""
    from bandits.ensembles import SharedTrunk
    from bandits.grid import Grid
    from bandits.reward_models import RewardTraining

    found: list[list[float]] = []

    class Recorded(RewardTraining):
        """The same training, with its losses."""

        def fit(self, parameters: Any, loss: Any) -> None:
            found.append([])
            super().fit(parameters, lambda step: self._noted(loss(step)))

        def _noted(self, value: Any) -> Any:
            found[-1].append(float(value.detach()))
            return value

    world = Grid(ensemble=SharedTrunk(members=MEMBERS, training=Recorded()))
    world.ensemble.train(world.comparisons([seed]), [seed], world.shape)
    return np.array(found) / [[1], [MEMBERS]]


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Both stages from their own first step, and where the paper stops them."""
    ax = canvas.subplots()
    for stage, colour in COLOURS.items():
        part = table[(table.stage == stage) & table.step.notna()]
        ax.plot(part.step, part["mean"], color=colour, label=STAGES[stage])
        ax.fill_between(part.step, part.low, part.high, color=colour, alpha=0.25, lw=0)
        ax.axhline(STOPS[stage], color=colour, ls=":", lw=1)
    ax.axhline(np.log(2), color=BLACK, lw=0.6)
    ax.annotate("chance", (table.step.max(), np.log(2)), ha="right", va="bottom", fontsize=6.5)
    ax.set(xlabel="training step", ylabel="Bradley-Terry loss  [nat]", ylim=(0, 0.8))
    ax.legend(loc="upper right", bbox_to_anchor=(1, 0.85))


def caption(table: pd.DataFrame) -> str:
    """The two stages and the bands."""
    last = table[table.step == table.step.max()].set_index("stage")["mean"]
    return (
        "Loss on all training comparisons before every step of full-batch Adam: one reward model, "
        f"then {MEMBERS} heads with new initial weights on its frozen trunk, each stage from step "
        f"0. Means over {int(table.seeds.max())} seeds (draws); bands are 95% intervals of the "
        "mean. Dotted: losses at which the paper's appendix stops each stage; here both go on for "
        f"the same number of steps, to {last['single']:.3f} and {last['heads']:.3f}."
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """Whether both stages reach the losses at which the paper stops them."""
    ends = table[table.reached.notna()].set_index("stage")
    measured = "; ".join(
        f"{label} below {STOPS[stage]:g} in {ends.reached[stage]:.0%} of the seeds, there at step "
        f"{Estimate(*ends.loc[stage, ['mean', 'low', 'high']])}"
        for stage, label in STAGES.items()
    )
    arrived = list(ends.reached >= 0.95)
    return [
        Finding(
            "The single model's loss falls below 0.4, and that of each head on its frozen trunk "
            "close to 0.2.",
            f"{measured}.",
            "reproduces" if all(arrived) else "in part" if any(arrived) else "differs",
        )
    ]


FIGURE = Figure(
    "banerjee2024.fig8", "Fig. 8", "Training loss of one reward model and of ten heads",
    {"toy": 4}, (COLUMN, 2.3), compute, draw, caption, findings,
)  # fmt: skip
