"""Figs. 2, 3 and 4: kinds of ensembles, and how their scores become one."""

from collections.abc import Sequence
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Setting
from figures.study import Z, curves
from figures.zhang2024 import runs
from figures.zhang2024.claims import aggregation_findings, kind_findings, paired
from figures.zhang2024.runs import AGGREGATIONS, INDEPENDENT, KINDS, LINEAR, LORA, MEAN, SINGLE
from theory import style

METRICS = {"win": "win rate against the reference", "gold": "true reward"}
COLOURS = {
    SINGLE: style.VERMILION,
    INDEPENDENT: style.BLACK,
    LINEAR: style.ORANGE,
    LORA: style.BLUE,
}
DASHES = dict(zip(AGGREGATIONS, ("-", "--", ":"), strict=True))
BY = ("kind", "aggregation", "optimiser", "effort")
EFFORTS = {"best-of-n": "n of best-of-n", "PPO": "PPO iteration"}


def compute(setting: Setting, kinds: Sequence[str], aggregations: Sequence[str]) -> pd.DataFrame:
    """Curves over all seeds, over as many as the paper has, and paired differences at the end."""
    seeds = runs.seeds(setting)
    rows = pd.concat(
        [
            runs.rows(kind, "same", aggregation, seeds, runs.COUNTS, runs.STEPS)
            for kind in kinds
            for aggregation in aggregations
        ]
    )
    few = [
        part[part.seed < setting.seed + runs.REPEATS[str(name)]]
        for name, part in rows.groupby("optimiser", sort=False)
    ]
    return pd.concat(
        [
            curves(rows, list(METRICS), by=BY).assign(sample="all"),
            curves(pd.concat(few), list(METRICS), by=BY).assign(sample="few"),
            paired(rows, "win"),
        ],
        ignore_index=True,
    )


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Win rate and true reward, under best-of-n and along PPO."""
    axes = canvas.subplots(1, 4)
    for index, (ax, (optimiser, metric)) in enumerate(
        zip(axes, [(o, m) for m in METRICS for o in EFFORTS], strict=True)
    ):
        _draw_panel(table[(table.optimiser == optimiser) & (table.metric == metric)], ax)
        ax.set(xlabel=EFFORTS[optimiser], title=METRICS[metric] if index % 2 == 0 else "")
        if optimiser == "best-of-n":
            ax.set_xscale("log")
            ax.set_xticks((2, 8, 50, 200), ("2", "8", "50", "200"))
            ax.minorticks_off()
    handles, labels = axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=4 if len(labels) == 4 else 3)


def _draw_panel(part: pd.DataFrame, ax: Axes) -> None:
    several = part.aggregation.nunique() > 1
    for (kind, aggregation), lines in part.groupby(["kind", "aggregation"], sort=False):
        colour = COLOURS[str(kind)]
        everyone, few = (lines[lines["sample"] == name] for name in ("all", "few"))
        ax.plot(everyone.effort, everyone["mean"], color=colour, ls=DASHES[str(aggregation)],
                label=f"{kind}, {aggregation}" if several else str(kind))  # fmt: skip
        ax.fill_between(everyone.effort, everyone.low, everyone.high, color=colour, alpha=0.15,
                        lw=0)  # fmt: skip
        if not several:
            errors = (few.high - few["mean"]) / Z
            ax.errorbar(few.effort, few["mean"], yerr=errors, color=colour, fmt=".", lw=0.7, ms=3)


def caption(table: pd.DataFrame) -> str:
    """What is averaged, how large the paper's own sample is, and where its n would be."""
    everyone = int(table.seeds.max())
    shown = table[table["sample"] == "all"]
    kinds = ", ".join(dict.fromkeys(shown.kind))
    aggregations = ", ".join(dict.fromkeys(shown.aggregation))
    return (
        f"Reward models: {kinds}; ensembles of {runs.MEMBERS}, aggregated by {aggregations}. "
        "Best-of-n in exact law, and PPO at a constant beta "
        f"of {runs.BETA:g}, from a reference with {runs.SFT:g} on the best of eight responses. Win "
        "rate: how often the policy's response is truly better than one of the reference, ties "
        f"counting one half. {everyone} seeds (draws), bands are 95% intervals over them"
        + (
            ". Dots: standard errors over as many seeds as the paper has, "
            + " and ".join(f"{count} for {name}" for name, count in runs.REPEATS.items())
            if shown.aggregation.nunique() == 1
            else ""
        )
        + ". With eight responses best-of-n is saturated from n = 50, where the paper begins. The "
        "LoRA members' trunk is trained on the same comparisons, the paper's on others."
    )


FIGURES = (
    Figure(
        "zhang2024.fig2", "Fig. 2", "Kinds of reward ensembles", {"toy": 6, "tiny": 25},
        (style.TEXT, 2.5), partial(compute, kinds=(SINGLE, *KINDS), aggregations=(MEAN,)), draw,
        caption, kind_findings,
    ),
    Figure(
        "zhang2024.fig3_4", "Figs. 3 and 4", "Mean and lower confidence bound",
        {"toy": 8, "tiny": 40}, (style.TEXT, 3.0),
        partial(compute, kinds=KINDS, aggregations=tuple(AGGREGATIONS)), draw, caption,
        aggregation_findings,
    ),
)  # fmt: skip
