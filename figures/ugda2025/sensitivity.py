"""Figs 10 and 11: what the shares gamma and eta do, beside as many labels at random."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting, verdict
from figures.study import Estimate, estimate
from figures.ugda2025 import runs
from figures.ugda2025.comparisons import grid_note
from figures.ugda2025.runs import EXACT, Method
from theory import style

SHARES = (0.2, 0.5, 0.8)
DIMENSIONS = {"all": None, "64": 64}
"""For the paper's 8192 and 4096, of the 1608 parameters here."""


def compute(setting: Setting) -> pd.DataFrame:
    """Gold by gamma, eta and dimension, and less that of as many random labels."""
    rows = []
    for gamma in SHARES:
        for eta in SHARES:
            shares = replace(EXACT, gamma=gamma, eta=eta)
            chance = runs.rows(setting, Method(replace(shares, selection="random"), exact=True))
            for name, dimension in DIMENSIONS.items():
                method = Method(replace(shares, dimension=dimension), exact=True)
                found = runs.rows(setting, method)
                numbers = {"gold": found.gold, "over random": found.gold - chance.gold}
                rows += [
                    {"gamma": gamma, "eta": eta, "dimension": name, "metric": metric,
                     **estimate(values)._asdict(), "labels": int(found.labels.iloc[0]),
                     "seeds": len(found)}
                    for metric, values in numbers.items()
                ]  # fmt: skip
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Maps over gamma and eta; the number of labels is written in."""
    panels = canvas.subplots(len(DIMENSIONS), 2, sharex=True, sharey=True)
    for row, name in zip(panels, DIMENSIONS, strict=True):
        for ax, metric in zip(row, ("gold", "over random"), strict=True):
            part = table[(table.dimension.astype(str) == name) & (table.metric == metric)]
            means = part.pivot(index="gamma", columns="eta", values="mean").to_numpy()
            reach = np.abs(means).max()
            limits = {} if metric == "gold" else {"vmin": -reach, "vmax": reach, "cmap": "RdBu"}
            image = ax.imshow(means, origin="lower", aspect="auto", **limits)
            canvas.colorbar(image, ax=ax, label="gold reward")
            ax.grid(visible=False)
            for y, x in np.ndindex(means.shape):
                ax.text(x, y, f"{means[y, x]:.2f}", ha="center", va="center", fontsize=6,
                        bbox={"fc": "white", "ec": "none", "alpha": 0.6, "pad": 0.5})  # fmt: skip
            ax.set(title=f"{metric}, dimension {name}", ylabel="γ")
            ax.set_xticks(range(len(SHARES)), SHARES)
            ax.set_yticks(range(len(SHARES)), SHARES)
    for ax in panels[-1]:
        ax.set_xlabel("η")


def caption(table: pd.DataFrame) -> str:
    """What a cell is."""
    counts = table.groupby(["gamma", "eta"]).labels.first()
    return (
        "Gold reward of the exact optimum on the refined mean, by the shares γ and η that are "
        "dropped by variance and then by influence, and its difference to as many labels at random "
        f"({counts.max()} at γ = η = {SHARES[0]:g}, {counts.min()} at {SHARES[-1]:g}). "
        + grid_note(table)
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """The shares matter some; most of it is the number of labels."""
    gold = table[table.metric == "gold"]
    best = gold.sort_values("mean").iloc[-1]
    few, many = (
        gold[gold.labels == count].iloc[0] for count in (gold.labels.min(), gold.labels.max())
    )
    over = table[table.metric == "over random"]
    wins, losses = int((over.low > 0).sum()), int((over.high < 0).sum())
    middle = over[(over.gamma == 0.5) & (over.eta == 0.5)].iloc[0]
    return [
        Finding(
            "Quality depends in part on both shares.",
            f"gold {_said(few)} with {few.labels} labels and {_said(many)} with {many.labels}; "
            f"best at γ = {best.gamma:g}, η = {best.eta:g} ({best.labels} labels).",
            verdict([bool(few.high < many.low)]),
        ),
        Finding(
            "The selection is what the shares tune (the paper holds no number of labels fixed).",
            f"against as many random labels {wins} of {len(over)} settings are better and {losses} "
            f"worse; at γ = η = 0.5 {_said(middle)}.",
            verdict([wins > len(over) / 2, losses == 0]),
        ),
    ]


def _said(row: pd.Series) -> str:
    return str(Estimate(row["mean"], row.low, row.high))


FIGURE = Figure(
    "ugda2025.fig10_11", "Figs 10 and 11", "Shares dropped by variance and by influence",
    {"toy": 12, "tiny": 40}, (style.TEXT, 4.0), compute, draw, caption, findings,
)  # fmt: skip
