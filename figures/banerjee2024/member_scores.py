"""Fig. 1: how far ten reward models that were trained alike disagree on one pair."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.banerjee2024.reward_sets import MEMBERS, NOTABLE
from figures.figure import Figure, Finding, Setting
from figures.study import Estimate, estimate
from theory.style import BLUE, COLUMN, ORANGE

SEEDS = {"toy": 64}
KINDS = {"Independent": "networks of their own", "SharedTrunk": "heads on one frozen trunk"}


def compute(setting: Setting) -> pd.DataFrame:
    """Centred scores of the first prompt's best response, and their spread over all prompts."""
    from bandits.ensembles import Independent, SharedTrunk
    from bandits.grid import Grid

    seeds, rows = range(setting.seed, setting.seed + setting.count(SEEDS)), []
    for kind in (Independent, SharedTrunk):
        world = Grid(ensemble=kind(members=MEMBERS))
        scores = world.prepare(seeds)[2].members.numpy()
        best = world.gold.numpy().argmax(-1)
        chosen = scores[:, np.arange(len(best)), best]
        spread = chosen.std(-1, ddof=1).mean(-1) / chosen.mean((-1, -2))
        rows += [
            {"kind": kind.__name__, "member": member, "score": score}
            for member, score in enumerate(chosen[0, 0], start=1)
        ]
        rows.append({"kind": kind.__name__, **estimate(spread)._asdict(), "seeds": len(seeds)})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """A stem a model."""
    ax = canvas.subplots()
    for kind, colour, shift in zip(KINDS, (BLUE, ORANGE), (-0.12, 0.12), strict=True):
        part = table[(table.kind == kind) & table.member.notna()]
        ax.vlines(part.member + shift, 0, part.score, color=colour, lw=1)
        ax.plot(part.member + shift, part.score, "o", color=colour, label=KINDS[kind])
    ax.set(xlabel="reward model", ylabel="centred score  [log-odds]")
    ax.set_ylim(0, 1.3 * table.score.max())
    ax.set_xticks(range(1, MEMBERS + 1))
    ax.legend(loc="upper right")


def caption(table: pd.DataFrame) -> str:
    """Which pair, which models, and how far apart they are."""
    parts = []
    for kind, label in KINDS.items():
        scores = table.score[table.kind == kind]
        parts.append(
            f"{label} between {scores.min():.2f} and {scores.max():.2f}, sd {scores.std():.2f}"
        )
    return (
        f"Scores of {MEMBERS} reward models, trained alike on the same comparisons from different "
        "initial weights, for the best response of the first prompt. They are centred under the "
        f"reference, as Bradley-Terry leaves a constant open: {'; '.join(parts)}. The plot is one "
        f"data set; the finding averages over all prompts and {int(table.seeds.max())} seeds "
        "(draws), with 95% intervals over seeds."
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """Whether models that differ by their initial weights alone disagree."""
    spreads = {
        row.kind: Estimate(row["mean"], row.low, row.high)
        for _, row in table[table.member.isna()].iterrows()
    }
    large = [spread.low > NOTABLE for spread in spreads.values()]
    measured = "; ".join(f"{KINDS[kind]} {spread}" for kind, spread in spreads.items())
    return [
        Finding(
            "Reward models that were trained alike on one data set score a pair very differently.",
            f"Sd over the models, relative to their mean centred score (above {NOTABLE:.0%} counts "
            f"as different): {measured}.",
            "reproduces" if all(large) else "in part" if any(large) else "differs",
        )
    ]


FIGURE = Figure(
    "banerjee2024.fig1", "Fig. 1", "Ten reward models on one prompt and response",
    {"toy": 2}, (COLUMN, 2.3), compute, draw, caption, findings,
)  # fmt: skip
