"""Figs 2, 4 and 7 on a small language model: selections, and what they do to reward models."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting, verdict
from figures.ugda2025.comparisons import gap, level, levels
from figures.ugda2025.text_runs import (
    LOOK,
    PPO,
    RANDOM,
    RLR,
    UGDA,
    dots,
    estimates,
    listed,
    note,
    rows,
)
from theory import style

PARTS = ("variance, 25%", "influence, 25%")
OURS = ("information, 25%", "both by size, 25%", "influence by size, 25%")
ANCHORED = ("UGDA, labels anchored, 25%", "PPO, labels anchored, 25%")
ABLATION = (PPO, RANDOM, *PARTS, UGDA, *OURS, *ANCHORED[::-1])
OUTCOMES = {"win": style.GREEN, "tie": style.ORANGE, "lose": style.VERMILION}


def compute(setting: Setting) -> pd.DataFrame:
    """Selections and labels with as many labels, on clean data."""
    pairs = [(UGDA, name) for name in (*PARTS, RANDOM, RLR, PPO)]
    pairs += [(name, RANDOM) for name in (*PARTS, *OURS)]
    pairs += [(ANCHORED[0], UGDA), (ANCHORED[1], RANDOM), ANCHORED]
    return estimates(rows(setting, "clean"), pairs)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """True reward, accuracy of the reward models, and outcomes against PPO without labels."""
    gold, accuracy, wins = canvas.subplots(1, 3, sharey=True)
    dots(gold, levels(table, "gold"), ABLATION, LOOK["clean"])
    dots(accuracy, levels(table, "accuracy"), ABLATION, LOOK["clean"])
    left, places = np.zeros(len(ABLATION)), -np.arange(len(ABLATION))
    for name, colour in OUTCOMES.items():
        found = levels(table, name).set_index("method")["mean"].reindex(ABLATION).to_numpy()
        wins.barh(places, found, left=left, color=colour, label=name)
        left = left + found
    gold.set(xlabel="true reward")
    accuracy.set(xlabel="accuracy")
    wins.set(xlabel=f"against {PPO}", xlim=(0, 1))
    gold.set_yticks(places, ABLATION)
    canvas.legend(*wins.get_legend_handles_labels(), loc="outside lower center", ncols=3)


def caption(table: pd.DataFrame) -> str:
    """Selections, and readings."""
    labels = {f"{a} minus {b}": gap(table, a, b)
              for a, b in ((ANCHORED[0], UGDA), (ANCHORED[1], RANDOM))}  # fmt: skip
    return (
        f"{int(table.labels.max())} labels a run, chosen at random ({RANDOM}), by disagreement, by "
        "influence or by both; beyond the paper, by expected information under a posterior over a "
        "linear head, or by the size of the influence; 'anchored' puts grades at quantiles of "
        f"everything collected instead of the relabelled samples ({listed(labels)}). "
        "Accuracy is the share of held-out comparisons that the mean of the members orders as the "
        "true reward does. Responses to the same prompts, drawn by the same random numbers (hence "
        "many ties), win against those of "
        f"{PPO} by the true reward, at most 0.1 apart is a tie. " + note(table)
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """Fig. 4, then accuracy and wins, and what influence alone brings."""
    both = {name: gap(table, UGDA, name) for name in (*PARTS, RANDOM)}
    right = {name: gap(table, UGDA, name, "accuracy") for name in (PPO, RANDOM, RLR)}
    ours = {name: gap(table, name, RANDOM) for name in OURS}
    signed = gap(table, PARTS[1], RANDOM)
    wins, losses = level(table, UGDA, "win"), level(table, UGDA, "lose")
    return [
        Finding(
            "Removing either part of the selection hurts, and random selection is worse.",
            f"UGDA minus {listed(both)}.",
            verdict([one.low > 0 for one in both.values()]),
        ),
        Finding(
            "Refinement by UGDA raises the accuracy of the reward models above all baselines'.",
            f"UGDA minus {listed(right)}.",
            verdict([one.low > 0 for one in right.values()]),
        ),
        Finding(
            "UGDA's responses win more often than they lose (here against PPO without labels).",
            f"Wins {wins}, losses {losses}.",
            verdict([wins.low > losses.high]),
        ),
        Finding(
            "Samples that help the validation loss are those worth relabelling (the paper ranks by "
            "signed influence).",
            f"Minus random: influence {signed}; {listed(ours)}.",
            verdict([signed.low > 0]),
        ),
    ]


FIGURE = Figure(
    "ugda2025.fig4_lm", "Figs 2, 4 and 7", "Selections and labels, on a language model",
    {"tiny": 1500}, (style.TEXT, 3.2), compute, draw, caption, findings,
)  # fmt: skip
