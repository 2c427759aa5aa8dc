"""Figs. 1, 4 and 5: gold, proxy and KL along PPO with fixed and adaptive KL coefficients."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from figures.adaptive2024 import runs
from figures.adaptive2024.claims import training_findings
from figures.adaptive2024.readings import numbers, reading
from figures.adaptive2024.runs import READINGS
from figures.adaptive2024.worlds import CALIBRATED, MEMBERS, MISCALIBRATED, REFERENCE, SFT
from figures.figure import Figure, Setting
from figures.study import curves
from theory import style

METRICS = {"gold": "true reward", "proxy": "what is maximised", "kl": "KL, nats"}
COLOURS = {
    "standard": style.VERMILION,
    "mean": style.BLACK,
    "pessimistic": style.ORANGE,
    "LCB": style.SKY,
    "adaptive": style.BLUE,
    "adaptive, per sample": style.GREEN,
}


def compute(setting: Setting, ensemble: str) -> pd.DataFrame:
    """Curves of every method; then differences and readings by name in `metric`."""
    seeds = runs.seeds(setting)
    rows = runs.trained(ensemble, seeds, runs.STEPS)
    matched = runs.matched(ensemble, seeds, runs.STEPS)
    table = curves(rows, list(METRICS)).assign(stage="training")
    ends = matched[matched.stage != "low beta"]
    at_distance = curves(ends, ("gold", "kl"), by=("stage", "objective"))
    start = rows[rows.objective == REFERENCE]
    readings = [
        {"objective": method, "metric": metric, **found._asdict()}
        for (method, metric), found in numbers(rows, start, matched).items()
    ]
    parts = [table, at_distance, pd.DataFrame(readings).assign(stage="reading", seeds=len(seeds))]
    return pd.concat(parts, ignore_index=True).assign(ensemble=ensemble)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Three panels along training, and the true reward at one KL."""
    axes = canvas.subplots(1, len(METRICS) + 1)
    along = table[table.stage == "training"]
    for ax, (metric, label) in zip(axes, METRICS.items(), strict=False):
        part = along[along.metric == metric]
        for method, colour in COLOURS.items():
            mine = part[part.objective == method]
            ax.plot(mine.step, mine["mean"], color=colour, label=method,
                    ls="--" if method == READINGS[0] else "-")  # fmt: skip
            ax.fill_between(mine.step, mine.low, mine.high, color=colour, alpha=0.1, lw=0)
        ax.set(xlabel="PPO iteration", title=label)
    reference = along[(along.objective == REFERENCE) & (along.metric == "gold")]["mean"].iloc[0]
    axes[0].axhline(reference, color=style.REFERENCE, ls=":", lw=1)
    _draw_matched(table, axes[-1])
    handles, labels = axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=len(COLOURS))


def _draw_matched(table: pd.DataFrame, ax: Axes) -> None:
    for stage, marker, shift in (("steered", "o", -0.15), ("exact", "D", 0.15)):
        part = table[(table.stage == stage) & (table.metric == "gold")].set_index("objective")
        for place, (method, colour) in enumerate(COLOURS.items()):
            row = part.loc[method]
            errors = [[row["mean"] - row.low], [row.high - row["mean"]]]
            ax.errorbar(place + shift, row["mean"], yerr=errors, color=colour, fmt=marker,
                        mfc="white" if stage == "exact" else colour)  # fmt: skip
    ax.set_xticks([])
    ax.set(title=f"true reward at {runs.DISTANCE:g} nats", xlabel="PPO ●   exact ◇")


def caption(table: pd.DataFrame) -> str:
    """Which worlds, methods and bands; what a per-prompt weight cannot do."""
    steered = table[(table.stage == "steered") & (table.metric == "kl")]["mean"]
    members = {
        CALIBRATED: f"{MEMBERS} networks of their own",
        MISCALIBRATED: f"{MEMBERS} heads on one frozen trunk, which share its errors",
    }[str(table.ensemble.iloc[0])]
    return (
        f"PPO at a constant beta of {runs.BETA:g} (lambda in the paper) from a reference with "
        f"{SFT:g} on the best response (dotted); reward models: {members}. Their spread ranks "
        "the error of their mean with Spearman correlation "
        f"{reading(table, REFERENCE, 'calibration')}. Pessimistic is the smallest member; LCB and "
        "the adaptive coefficient with one variance a response go beyond the paper; that of a "
        "prompt is taken under the reference, the paper's under the current policy. Right: beta "
        f"steered to one KL (PPO ends at {steered.min():.2f} to {steered.max():.2f}), and the "
        "exact optima there. In exact optima at a beta of "
        f"{runs.LOW_BETA:g} the adaptive coefficient is right for all prompts exactly when the "
        f"mean is in {reading(table, READINGS[0], 'as mean').mean:.0%} of seeds: a weight of a "
        f"prompt leaves its best response where it is. {int(table.seeds.max())} seeds (draws), "
        "bands and bars are 95% intervals over them; methods share their seeds, so differences "
        "between them are surer than the bands. World and beta were chosen, after others had been "
        "tried, for a true reward that falls."
    )


def _figure(key: str, number: str, title: str, ensemble: str) -> Figure:
    return Figure(
        f"adaptive2024.{key}", number, title, {"toy": 8, "tiny": 40}, (style.TEXT, 2.5),
        partial(compute, ensemble=ensemble), draw, caption, training_findings,
    )  # fmt: skip


FIGURES = (
    _figure("fig1", "Figs. 1 and 4", "An adaptive KL coefficient", CALIBRATED),
    _figure("fig5", "Fig. 5", "The same with members that err alike", MISCALIBRATED),
)
