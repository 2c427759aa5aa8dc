"""One figure for a comparison: who moves probability where, and how sure."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from theory import style
from theory.comparison import Comparison
from theory.files import write

BINS = 8


def save_figure(comparison: Comparison, out: Path) -> list[Path]:
    """comparison.png and .pdf. Needs matplotlib (the extra `figures`)."""
    from matplotlib.figure import Figure

    style.use()
    rows = len(comparison.summary)
    canvas = Figure(figsize=(style.TEXT, max(2.6, 0.6 + 0.17 * rows) + 2.4))
    halves: Any = canvas.subfigures(2, 1, height_ratios=(max(2.6, 0.6 + 0.17 * rows), 2.4))
    top, bottom = halves
    moves, sure = top.subplots(1, 2, sharey=True, width_ratios=(1.3, 1))
    _draw_moves(moves, comparison, top)
    _draw_gains(sure, comparison.summary)
    _draw_frontier(bottom, comparison)
    return [
        write(out / f"comparison.{kind}", partial(canvas.savefig, format=kind))
        for kind in ("png", "pdf")
    ]


def _draw_moves(ax, comparison: Comparison, canvas) -> None:
    """Probability moved, by quantile of the members' disagreement."""
    cells = comparison.policies
    spread = cells["variance"] if "variance" in cells else cells["mean"]
    ranks = spread.groupby(cells.objective).rank(pct=True)
    bins = np.minimum((ranks * BINS).astype(int), BINS - 1)
    prompts = cells.prompt.nunique()
    moved = (cells.probability - cells.reference).groupby([cells.objective, bins]).sum() / prompts
    table = moved.unstack().reindex(comparison.summary.objective)
    reach = float(np.nanmax(np.abs(table.to_numpy()))) or 1.0
    image = ax.imshow(table, cmap="PuOr", vmin=-reach, vmax=reach, aspect="auto")
    ax.set_yticks(range(len(table)), table.index)
    ax.set_xticks((0, BINS - 1), ("members agree", "disagree"))
    ax.set_title("probability moved, by disagreement")
    ax.grid(visible=False)
    canvas.colorbar(image, ax=ax, location="bottom", shrink=0.8, label="change of probability")


def _draw_gains(ax, summary: pd.DataFrame) -> None:
    """Estimated gain with its 95% interval, and the gold gain where it is known."""
    y = np.arange(len(summary))
    if "gain_sd" in summary:
        ax.errorbar(summary.gain, y, xerr=1.96 * summary.gain_sd, fmt="o", color=style.BLUE, ms=3,
                    label="by the ensemble, ±1.96 sd")  # fmt: skip
    else:
        ax.plot(summary.gain, y, "o", color=style.BLUE, label="by the scores")
    if "gold_gain" in summary:
        half = summary.gold_gain_high - summary.gold_gain
        ax.errorbar(summary.gold_gain, y + 0.25, xerr=half, fmt="D", color=style.GREEN, ms=2.5,
                    label="gold, interval over prompts")  # fmt: skip
    ax.axvline(0, color=style.BLACK, lw=0.6)
    ax.set_xlabel("gain over the reference [reward]")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17))


def _draw_frontier(canvas, comparison: Comparison) -> None:
    """Gold against KL over beta; without gold, estimated gain against disagreement."""
    ax = canvas.subplots()
    if comparison.frontier.empty:
        summary = comparison.summary
        if "disagreement" in summary:
            ax.plot(summary.disagreement, summary.gain, "o", color=style.BLUE)
            for row in summary.itertuples():
                ax.annotate(row.objective, (row.disagreement, row.gain), fontsize=5.5)
        ax.set(xlabel="member disagreement under the policy", ylabel="estimated gain")
        return
    groups = comparison.frontier.groupby("objective", sort=False)
    for index, (name, curve) in enumerate(groups):
        line = ("-", "--", ":")[index // 7 % 3]
        curve = curve.sort_values("beta")
        ax.plot(curve.kl, curve.gold, line, label=name, lw=1)
    ax.set(xlabel="KL from the reference [nats]", ylabel="gold return")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=6)
