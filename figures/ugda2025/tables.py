"""Tables 2 and 3: gold reward of UGDA and its baselines, and its variance; then flipped labels."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting, verdict
from figures.study import Estimate
from figures.ugda2025.comparisons import compared, errors, gap, grid_note, levels
from figures.ugda2025.runs import FLIPPED, NONE, QUARTER, REFERENCE, TABLE, TASKS
from theory import style

METHODS = {REFERENCE: None, **{f"{name}, {share}": m for (name, share), m in TABLE.items()}}
UGDA = f"UGDA, {QUARTER}"
BASELINES = tuple(name for name in METHODS if name not in (UGDA, REFERENCE))
RELABELLED = tuple(name for name in BASELINES if name.endswith(QUARTER))
COLUMNS = ("gold", *(f"{what} {task}" for what in ("gold", "variance") for task in TASKS))
TRAINED = tuple(f"{name}, {NONE}" for name in ("PPO", "LCB", "UWO"))
PANELS = {"gold": "mean gold reward", "variance": "its variance over responses"}
LOOK = {TASKS[0]: (style.BLUE, "o"), TASKS[1]: (style.ORANGE, "s")}


def compute(setting: Setting, noise: float) -> pd.DataFrame:
    """Levels of all methods, and the differences that the claims are about."""
    pairs = [(UGDA, other) for other in BASELINES] + [(one, REFERENCE) for one in TRAINED]
    return compared(setting, METHODS, COLUMNS, pairs, noise)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One row a method, one panel a metric, one colour a test set."""
    axes = canvas.subplots(1, len(PANELS), sharey=True)
    order = list(METHODS)
    for ax, (metric, label) in zip(axes, PANELS.items(), strict=True):
        for shift, (task, (colour, marker)) in zip((0.15, -0.15), LOOK.items(), strict=True):
            rows = levels(table, f"{metric} {task}")
            places = [shift - order.index(name) for name in rows.method]
            ax.errorbar(rows["mean"], places, xerr=errors(rows), fmt=marker, color=colour,
                        label=task)  # fmt: skip
        ax.set(xlabel=label)
    axes[0].set_yticks(-np.arange(len(order)), order)
    axes[0].legend()


def caption(table: pd.DataFrame, noise: float) -> str:
    """Methods and readings."""
    flipped = f" {noise:.0%} of the comparisons are flipped." if noise else ""
    return (
        "Gold reward of policies, and its variance over prompts and draws, without (0%) and with a "
        "quarter of the interactions relabelled by the gold reward (grades 1–5): a random quarter "
        "for the baselines, UGDA's own for UGDA. SFT is the reference."
        f"{flipped} RLR trains the members anew, on comparisons and labels at once; PPO at 25% "
        "refines trained members and equals the ablation with random selection. The paper leaves "
        "the difference open: read otherwise, RLR is that ablation. " + grid_note(table)
    )


def findings(table: pd.DataFrame, noise: float) -> list[Finding]:
    """UGDA against all baselines, the spread of rewards, and what is said about SFT."""
    better = {name: gap(table, UGDA, name) for name in BASELINES}
    fair = {name: better[name] for name in RELABELLED}
    spread = [gap(table, UGDA, name, f"variance {task}") for name in RELABELLED for task in TASKS]
    found = [
        Finding(
            "UGDA reaches the highest mean gold reward of all methods.",
            f"UGDA minus {_said(better)}.",
            verdict([number.low > 0 for number in better.values()]),
        ),
        Finding(
            "With as many labels, choosing them by variance and influence beats a random quarter.",
            f"UGDA minus {_said(fair)}.",
            verdict([number.low > 0 for number in fair.values()]),
        ),
        Finding(
            "The rewards of UGDA's responses vary less than those of the baselines.",
            f"{sum(number.high < 0 for number in spread)} of {len(spread)} differences in variance "
            f"to baselines with as many labels lie below zero, "
            f"{sum(number.low > 0 for number in spread)} above.",
            verdict([number.high < 0 for number in spread]),
        ),
    ]
    if not noise:
        over = {name: gap(table, name, REFERENCE) for name in TRAINED}
        found.append(
            Finding(
                "All policies that were trained with rewards beat SFT (the paper's own table has "
                "LCB and UWO below it with Gemma-2B).",
                f"Minus SFT: {'; '.join(f'{name} {found}' for name, found in over.items())}.",
                verdict([number.low > 0 for number in over.values()]),
            )
        )
    return found


def _said(numbers: dict[str, Estimate]) -> str:
    return "; ".join(f"{name}: {number}" for name, number in numbers.items())


def _figure(key: str, number: str, title: str, noise: float) -> Figure:
    return Figure(
        f"ugda2025.{key}", number, title, {"toy": 11, "tiny": 35}, (style.TEXT, 2.8),
        partial(compute, noise=noise), draw, partial(caption, noise=noise),
        partial(findings, noise=noise),
    )  # fmt: skip


FIGURES = (
    _figure("table2", "Table 2", "Gold reward by method", 0.0),
    _figure("table3", "Table 3", "Gold reward by method with flipped preferences", FLIPPED),
)
