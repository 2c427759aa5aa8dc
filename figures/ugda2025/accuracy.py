"""Figs 6, 7 and 9: how well reward models order responses, before and after refinement."""

import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting, verdict
from figures.study import Estimate
from figures.ugda2025.ablation import BOTH_SIZE, METHODS, RANDOM
from figures.ugda2025.comparisons import compared, errors, gap, grid_note, level, levels
from figures.ugda2025.runs import FLIPPED, PPO, RLR, TASKS, UGDA
from theory import style

BEFORE, QUARTER, OURS = "before", "random quarter", "UGDA"
SHOWN = {
    BEFORE: PPO,
    QUARTER: METHODS[RANDOM],
    "RLR": RLR,
    OURS: UGDA,
    BOTH_SIZE: METHODS[BOTH_SIZE],
}
COLUMNS = ("accuracy", *(f"accuracy {task}" for task in TASKS))
LOOK = {TASKS[0]: (style.BLUE, "o"), TASKS[1]: (style.ORANGE, "s")}
NOISES = {"clean": 0.0, "flipped": FLIPPED}
PRINTED = {TASKS[0]: 0.693, TASKS[1]: 0.685}
"""UGDA with Gemma-2B [ugda2025, Fig. 7]."""


def compute(setting: Setting) -> pd.DataFrame:
    """Accuracy by method and test set, on both kinds of data."""
    pairs = [(OURS, other) for other in (BEFORE, QUARTER, "RLR")]
    tables = [
        compared(setting, SHOWN, COLUMNS, pairs, noise).assign(data=name)
        for name, noise in NOISES.items()
    ]
    return pd.concat(tables, ignore_index=True)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One panel a kind of data, one colour a test set."""
    axes = canvas.subplots(1, len(NOISES), sharey=True, sharex=True)
    order = list(SHOWN)
    for ax, name in zip(axes, NOISES, strict=True):
        for shift, (task, (colour, marker)) in zip((0.12, -0.12), LOOK.items(), strict=True):
            rows = levels(table[table.data == name], f"accuracy {task}")
            ax.errorbar(rows["mean"], [shift - order.index(m) for m in rows.method],
                        xerr=errors(rows), fmt=marker, color=colour, label=task)  # fmt: skip
        ax.axvline(0.5, color=style.BLACK, lw=0.5, ls=":")
        ax.set(title=f"{name} comparisons", xlabel="share of pairs in the right order")
    axes[0].set_yticks([-place for place in range(len(order))], order)
    axes[0].legend()


def caption(table: pd.DataFrame) -> str:
    """What is counted."""
    return (
        "Share of all pairs of responses to a prompt that the mean of the members orders as the "
        "gold reward does. The paper's test sets are those its influence is measured on; "
        "RewardBench needs language models. " + grid_note(table)
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """UGDA against the reward models it began with, and against other relabelling."""
    parts = list(table.groupby("data", sort=False))
    clean = table[table.data == "clean"]
    before = {str(data): gap(part, OURS, BEFORE, "accuracy") for data, part in parts}
    other = {
        f"{name}, {data}": gap(part, OURS, name, "accuracy")
        for data, part in parts for name in (QUARTER, "RLR")
    }  # fmt: skip
    worst = level(clean, BEFORE, "accuracy")
    return [
        Finding(
            "Refinement by UGDA raises the accuracy of the reward models above all baselines'.",
            f"UGDA minus before {_said(before)}; minus {_said(other)}.",
            verdict([number.low > 0 for number in (*before.values(), *other.values())]),
        ),
        Finding(
            "Most baselines order pairs worse than chance.",
            f"reward models before any refinement {worst}.",
            verdict([worst.high < 0.5]),
        ),
    ]


def _said(numbers: dict[str, Estimate]) -> str:
    return "; ".join(f"{name}: {number}" for name, number in numbers.items())


FIGURE = Figure(
    "ugda2025.fig7", "Figs 6, 7 and 9", "Accuracy of reward models before and after refinement",
    {"toy": 4, "tiny": 12}, (style.TEXT, 2.4), compute, draw, caption, findings,
)  # fmt: skip
