"""Returns of trained policies as distributions, and their KL and proxy along training."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from llm_bridge.compare_figure import COLOURS
from theory import style
from theory.files import write


def draw_population(rows: pd.DataFrame, reference: pd.DataFrame, out: Path) -> Path:
    """`draw_policies` into `population.png`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import style as matplotlib_style
    from matplotlib.figure import Figure

    with matplotlib_style.context(style.PATH):
        canvas = Figure(figsize=(style.TEXT, 2.6))
        draw_policies(rows, reference, canvas)
        return write(out / "population.png", partial(canvas.savefig, format="png"))


def draw_policies(rows: pd.DataFrame, reference: pd.DataFrame, canvas: Any) -> None:
    """Judged true return of every policy [banerjee2024, Figs. 7 and 12], and means and standard
    deviations of KL and proxy over policies [banerjee2024, Figs. 10 and 11], on an empty canvas."""
    left, middle, right = canvas.subplots(1, 3)
    methods = list(dict.fromkeys(rows.objective))
    for place, method in enumerate(["reference", *methods]):
        own = reference if method == "reference" else rows[rows.objective == method]
        values = own.judged_gold.dropna().to_numpy()
        colour = COLOURS[place % len(COLOURS)]
        jitter = np.linspace(-0.25, 0.25, len(values))
        left.plot(values, place + jitter, ".", ms=3, color=colour, alpha=0.6)
        left.errorbar(values.mean(), place, xerr=values.std(ddof=1), color=colour, marker="|")
        if method == "reference":
            continue
        for ax, metric in ((middle, "kl"), (right, "proxy")):
            by_step = own.groupby("step")[metric]
            mean, sd = by_step.mean(), by_step.std()
            ax.plot(mean.index, mean, color=colour, label=method)
            ax.fill_between(mean.index, mean - sd, mean + sd, color=colour, alpha=0.15, lw=0)
    left.set(title="true return of each policy", yticks=range(len(methods) + 1))
    left.set_yticklabels(["reference", *methods])
    left.invert_yaxis()
    middle.set(title="KL, nats a response", xlabel="PPO iteration")
    right.set(title="what is maximised", xlabel="PPO iteration")
    handles = middle.get_legend_handles_labels()
    canvas.legend(*handles, loc="outside lower center", ncols=4, title="mean and sd over policies")
