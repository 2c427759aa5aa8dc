"""Where the gain of refinement comes from, what a label buys, and what the silent choices do."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting, verdict
from figures.study import Estimate
from figures.ugda2025 import runs
from figures.ugda2025.ablation import BOTH_SIZE, METHODS, NOTHING, RANDOM, SIZE
from figures.ugda2025.comparisons import compared, errors, gap, grid_note
from figures.ugda2025.runs import EXACT, FLIPPED, UGDA, Method
from theory import style

OURS, ALL, STAYS = "UGDA", "all relabelled", "policy not restarted"
SIMILARITY = 0.877
"""Share of labels on which the paper's two experts agree, on average [ugda2025, Table 1]."""
ANCHORED = replace(EXACT, labels="anchored")
VARIANTS = {
    OURS: UGDA,
    "Adam as printed": Method(replace(EXACT, direction="as_printed")),
    "SGD direction": Method(replace(EXACT, direction="sgd")),
    "raw inner product": Method(replace(EXACT, similarity="raw")),
    "mean over tasks": Method(replace(EXACT, tasks="mean")),
    "PPO surrogate": Method(replace(EXACT, loss="ppo")),
    "labels as printed": Method(replace(EXACT, labels="as_printed")),
    "anchored labels": Method(ANCHORED),
    STAYS: Method(restart=False),
    "expert errs": Method(error=1 - SIMILARITY),
}
OTHERS = {
    NOTHING: METHODS[NOTHING],
    RANDOM: METHODS[RANDOM],
    "random, anchored": Method(replace(ANCHORED, selection="random")),
    BOTH_SIZE: METHODS[BOTH_SIZE],
    SIZE: METHODS[SIZE],
    f"{SIZE}, anchored": Method(replace(ANCHORED, selection="influence", sign="either")),
    ALL: Method(replace(EXACT, selection="random", gamma=0.0, eta=0.0)),
}
SHOWN = {**OTHERS, **VARIANTS}
SHARE = "share of random labels"
DRAWS = 1000


def compute(setting: Setting) -> pd.DataFrame:
    """Gains over no labels with flipped preferences; gains a label; and the share of any label."""
    pairs = [(name, NOTHING) for name in SHOWN if name != NOTHING]
    pairs += [(name, RANDOM) for name in (OURS, SIZE, f"{SIZE}, anchored")]
    pairs += [(OURS, name) for name in (STAYS, "anchored labels")]
    table = compared(setting, SHOWN, ("gold",), pairs, FLIPPED)
    own = runs.seeds(setting)
    gold = {
        name: runs.rows(setting, SHOWN[name], FLIPPED).gold.to_numpy()
        for name in (NOTHING, RANDOM, SIZE)
    }
    picked = setting.rng("ugda2025.gains").integers(
        sum(map(len, own)), size=(DRAWS, sum(map(len, own)))
    )
    shares = _share(*(gold[name][picked].mean(-1) for name in (NOTHING, RANDOM, SIZE)))
    low, high = np.quantile(shares, (0.025, 0.975))
    point = _share(*(gold[name].mean() for name in (NOTHING, RANDOM, SIZE)))
    row = {"method": SIZE, "against": RANDOM, "metric": SHARE, "mean": float(point),
           "low": low, "high": high, "seeds": picked.shape[1]}  # fmt: skip
    return pd.concat([table, pd.DataFrame([row])], ignore_index=True)


def _share(none: Any, random: Any, chosen: Any) -> Any:
    """Of the gain of chosen labels, what as many random ones bring."""
    return (random - none) / (chosen - none)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Gains over no labels, one row a method."""
    ax = canvas.subplots()
    rows = _gains(table)
    rows = rows[rows.method != ALL]
    colours = [style.BLUE if name in VARIANTS else style.VERMILION for name in rows.method]
    for place, (colour, (_, row)) in enumerate(zip(colours, rows.iterrows(), strict=True)):
        ax.errorbar([row["mean"]], [-place], xerr=errors(rows[rows.method == row.method]), fmt="o",
                    color=colour)  # fmt: skip
    ax.axvline(0, color=style.BLACK, lw=0.5, ls=":")
    ax.set_yticks([-place for place in range(len(rows))], rows.method.tolist())
    ax.set(xlabel="gold reward gained over no labels")


def caption(table: pd.DataFrame) -> str:
    """What each row changes."""
    labels = int(table[table.method == OURS].labels.max())
    every = Estimate(*_gains(table).set_index("method").loc[ALL, ["mean", "low", "high"]])
    return (
        f"Gold reward gained by relabelling {labels} samples a run, {FLIPPED:.0%} of the "
        "comparisons flipped. Blue: UGDA with one choice changed where the paper is silent, "
        "contradicts itself or errs. Red: other selections. Anchored labels take a grade's "
        "quantile from everything collected, not from the relabelled samples. The expert who errs "
        f"gives another grade in {1 - SIMILARITY:.1%} of the cases. All samples relabelled: "
        f"{every}. " + grid_note(table)
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """Relabelling against selecting, the price of a label, and the map from grades to rewards."""
    gains = {name: gap(table, name, NOTHING) for name in SHOWN if name != NOTHING}
    labels = table[table.against.isna() | (table.against == "")].set_index("method").labels
    share = gap(table, SIZE, RANDOM, SHARE)
    each = "; ".join(
        f"{name} {gains[name].mean / labels[name]:.4f}" for name in (OURS, RANDOM, SIZE, ALL)
    )
    restart = gap(table, OURS, STAYS)
    anchored = gap(table, f"{SIZE}, anchored", RANDOM)
    return [
        Finding(
            "The gain is due to the selection and not to relabelling as such.",
            f"over no labels UGDA gains {gains[OURS]} and random labels {gains[RANDOM]}; with the "
            f"size of the influence, {gains[SIZE]}, of which random labels bring {share} "
            "(bootstrap over runs).",
            verdict([gap(table, OURS, RANDOM).low > 0]),
        ),
        Finding(
            "A few selected samples are enough (labels cost).",
            f"gold gained a label: {each}.",
            verdict([gains[OURS].low > 0]),
        ),
        Finding(
            "Grades on each member's own quantiles keep the reward model on its distribution.",
            f"UGDA with quantiles of the relabelled samples {gains[OURS]}, as printed "
            f"{gains['labels as printed']}, of all samples {gains['anchored labels']}; anchored "
            f"labels chosen by the size of the influence minus random ones {anchored}.",
            verdict([gap(table, OURS, "anchored labels").high > 0]),
        ),
        Finding(
            "A policy that is trained anew does better than one that goes on (the text says anew, "
            "Algorithm 1 refines).",
            f"a restarted policy minus one that goes on {restart}.",
            verdict([restart.low > 0]),
        ),
    ]


def _gains(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table.against == NOTHING) & (table.metric == "gold")]


FIGURE = Figure(
    "ugda2025.gains", "", "Where the gain of refinement comes from", {"toy": 14, "tiny": 45},
    (style.COLUMN, 4.2), compute, draw, caption, findings,
)  # fmt: skip
