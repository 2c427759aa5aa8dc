"""Curves of a comparison: gold, proxy and KL along training, one line an objective."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from theory import style
from theory.files import write

PANELS = {"gold": "true reward", "proxy": "what is maximised", "kl": "KL, nats a response"}
COLOURS = (
    style.BLACK, style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.VERMILION, style.SKY,
)  # fmt: skip


def draw(rows: pd.DataFrame, out: Path) -> Path:
    """Means over seeds with their range, into `compare.png`; without true reward where none is."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import style as matplotlib_style
    from matplotlib.figure import Figure

    with matplotlib_style.context(style.PATH):
        canvas = Figure(figsize=(style.TEXT, 2.6))
        draw_curves(rows, canvas)
        return write(out / "compare.png", partial(canvas.savefig, format="png"))


def draw_curves(rows: pd.DataFrame, canvas: Any) -> None:
    """A panel a quantity on an empty canvas of matplotlib, and the legend below."""
    panels = {name: label for name, label in PANELS.items() if name in rows}
    axes = canvas.subplots(1, len(panels))
    for index, (name, part) in enumerate(rows.groupby("objective", sort=False)):
        colour = COLOURS[index % len(COLOURS)]
        for ax, (metric, label) in zip(axes, panels.items(), strict=True):
            by_step = part.groupby("step")[metric]
            mean = by_step.mean()
            ax.plot(mean.index, mean, color=colour, label=str(name))
            low, high = by_step.min(), by_step.max()
            ax.fill_between(mean.index, low, high, color=colour, alpha=0.1, lw=0)
            ax.set(title=label, xlabel="PPO iteration")
    handles = axes[0].get_legend_handles_labels()
    sets = rows.seed.nunique()
    told = f"mean and range over {sets} preference data sets" if sets > 1 else None
    canvas.legend(*handles, loc="outside lower center", ncols=4, title=told)
