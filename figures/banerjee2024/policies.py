"""Figs. 7 and 12: how much the true return varies over independently trained policies."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from figures.banerjee2024 import policy_runs
from figures.banerjee2024.policy_readings import findings, summary, trials_of
from figures.banerjee2024.policy_runs import DISTANCE, LABELS, MEMBERS, final, optima, trained
from figures.banerjee2024.policy_spread import over_data_sets, redrawn, summaries, within_one
from figures.figure import Figure, Setting
from theory.style import AWARE, BLACK, GREEN, REFERENCE, TEXT, UNAWARE

SETS = {4: 5, 10: 3}
"""Data sets by trials a member, whose policies are trained by PPO."""
EXACT_SETS = 24
SPLITS = {"same": "members share one data set", "fresh": "fresh data for each member"}
COLOURS = {"vanilla": UNAWARE, "aware": AWARE, "mean": GREEN}


def compute(setting: Setting, *, trials: int) -> pd.DataFrame:
    """Final policies, and contrasts of their returns by design and kind of inference."""
    rng, frames = setting.rng(f"policies {trials}"), []
    data = tuple(range(setting.seed, setting.seed + SETS[trials]))
    many = tuple(range(setting.seed, setting.seed + EXACT_SETS))
    for split in SPLITS:
        ppo = final(trained(data, trials, split, policy_runs.STEPS))
        exact = final(optima(many, split))
        varied = exact[exact.method != "mean"]
        reference = optima(many, split).query("step == 0 and member == 0 and method == 'mean'")
        parts = {
            "policy": ppo,
            "reference": reference[reference.data.isin(data)].assign(method="reference"),
            "summary": summaries(ppo),
            "data sets": over_data_sets(ppo),
            "exact": over_data_sets(varied),
            "one data set": within_one(ppo[ppo.data == data[0]], rng),
            "redrawn": redrawn(exact, rng),
        }
        frames += [part.assign(kind=kind, split=split) for kind, part in parts.items()]
    return pd.concat(frames, ignore_index=True)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Returns of one data set's policies in both designs, and ratios of sds over data sets."""
    axes = canvas.subplots(1, 3, width_ratios=(1, 1, 0.9))
    shown = table[table.data == table.data.min()]
    for ax, split in zip(axes, SPLITS, strict=False):
        _returns(ax, shown[shown.split == split])
        ax.set(title=SPLITS[split], xlim=(0, 1.03 * shown.gold.max()))
    axes[1].tick_params(labelleft=False)
    _ratios(axes[2], table)


def _returns(ax: Axes, part: pd.DataFrame) -> None:
    """A band a method, a line of dots a member: its trials."""
    policies, start = part[part.kind == "policy"], part[part.kind == "reference"].gold.iloc[0]
    for place, (method, colour) in enumerate(COLOURS.items()):
        rows = policies[policies.method == method]
        height = place + 0.8 * ((rows.member + 0.5) / (policies.member.max() + 1) - 0.5)
        ax.plot(rows.gold, height, "o", color=colour, alpha=0.5, ms=2.5, mew=0)
        ax.plot([rows.gold.mean()] * 2, [place - 0.45, place + 0.45], color=BLACK, lw=0.8)
    ax.axvline(start, color=REFERENCE, ls="--")
    ax.text(start, -0.4, " reference", color=REFERENCE, fontsize=6.5)
    ax.set_yticks(range(len(COLOURS)), [LABELS[method] for method in COLOURS], fontsize=6.5)
    ax.set(xlabel="true return  [reward]", ylim=(len(COLOURS) - 0.4, -0.6))


def _ratios(ax: Axes, table: pd.DataFrame) -> None:
    """Ratios to vanilla: dots are data sets, bars intervals of their geometric mean."""
    rows = table[(table.statistic == "sd ratio") & table.kind.isin(["data sets", "exact"])]
    groups = list(rows.groupby(["split", "kind", "method"], sort=False))[::-1]
    for place, ((_, _, method), part) in enumerate(groups):
        colour, mean = COLOURS[str(method)], part[part.data.isna()]
        each = part[part.data.notna()].value
        ax.plot(each, np.full(len(each), place), ".", color=colour, alpha=0.35, ms=3)
        errors = (mean.value - mean.low, mean.high - mean.value)
        ax.errorbar(mean.value, [place], xerr=errors, fmt="o", color=colour, capsize=2)
    names = [f"{split}, {'PPO' if kind == 'data sets' else kind}" for (split, kind, _), _ in groups]
    ax.set_yticks(range(len(groups)), names, fontsize=6.5)
    ax.axvline(1, color=BLACK, lw=0.6)
    ax.set_xscale("log")
    ax.set_xticks((0.1, 0.2, 0.5, 1), ("0.1", "0.2", "0.5", "1"))
    ax.minorticks_off()
    ax.set(title="sd over policies / vanilla's", xlabel="ratio", ylim=(-0.6, len(groups) - 0.4))


def caption(table: pd.DataFrame) -> str:
    """The designs, the components of variance, and what every interval is."""
    trials, sets = trials_of(table), int(table.sets.min())
    lines = [
        f"{LABELS[str(method)]} mean {row['mean']:.3f}, sd {row['sd']:.3f}, variance between "
        f"members {row['between']:.1e} and within {row['within']:.1e}"
        for method, row in summary(table, "same").iterrows()
    ]
    fresh = [
        f"{LABELS[str(method)]} {row['mean']:.3f}, {row['sd']:.3f}, {row['between']:.1e}, "
        f"{row['within']:.1e}"
        for method, row in summary(table, "fresh").iterrows()
    ]
    start = float(table[table.kind == "reference"].gold.mean())
    return (
        f"{MEMBERS * trials} policies a method: {MEMBERS} reward models, {trials} PPO trials each, "
        f"all steered to {DISTANCE:g} nat from the one reference of their data set. Left: reward "
        "models that share the data, so that policies are dependent; middle: fresh data for each "
        "reward model, which makes models, though not trials of one, independent. Dots are the "
        "policies of one data set, a line of them the trials of one reward model, bars their "
        f"means. Right: sd over policies relative to vanilla; dots are data sets "
        f"(draws), {sets} by PPO and {int(table.sets.max())} exactly, circles their geometric "
        "means with 95% t intervals over data sets. Averages over data sets, one data set: "
        f"{'; '.join(lines)}. Fresh data, in the same order: {'; '.join(fresh)}. Reference mean "
        f"{start:.3f}: it is one policy, and the variance that the paper prints for it is "
        "evaluation noise, of which exact expectations have none. All variance here is that of "
        "training."
    )


FIGURES = (
    Figure(
        "banerjee2024.fig7", "Fig. 7", f"True return of 40 policies a method at {DISTANCE:g} nat",
        {"toy": 8}, (TEXT, 2.7), partial(compute, trials=4), draw, caption, findings,
    ),
    Figure(
        "banerjee2024.fig12", "Fig. 12",
        f"True return of 100 policies a method at {DISTANCE:g} nat",
        {"toy": 8}, (TEXT, 2.7), partial(compute, trials=10), draw, caption, findings,
    ),
)  # fmt: skip
