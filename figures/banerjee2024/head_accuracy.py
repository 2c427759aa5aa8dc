"""Fig. 9: accuracy of each of ten heads on unseen comparisons, beside the single model."""

import dataclasses

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from figures.banerjee2024.reward_sets import DATA, MEMBERS, SPLITS, heads, unseen
from figures.figure import Figure, Finding, Setting
from figures.study import Estimate, estimate
from theory.style import BLUE, ORANGE, SKY, TEXT

SEEDS = {"toy": 64}
COLOURS = dict(zip(SPLITS, (BLUE, SKY), strict=True))
MARGIN = 0.02
"""Difference of accuracies up to which models count as equally good."""


def compute(setting: Setting) -> pd.DataFrame:
    """Accuracies of heads, single model and mean of heads, and paired differences."""
    from bandits.ensembles import Independent

    seeds, rows = range(setting.seed, setting.seed + setting.count(SEEDS)), []
    for data in DATA:
        for split in SPLITS:
            world = heads(data, split)
            alone = dataclasses.replace(world, ensemble=Independent(members=1))
            pairs, first = unseen(world, seeds), unseen(alone, seeds)
            lead = pairs.chosen - pairs.rejected
            each = _accuracy(lead, pairs.run)
            single = _accuracy(first.chosen - first.rejected, first.run)[:, 0]
            together = _accuracy(lead.mean(-1, keepdims=True), pairs.run)[:, 0]
            values = {
                "single": single, "mean of heads": together, "average head": each.mean(-1),
                "head - single": each.mean(-1) - single,
                "mean of heads - single": together - single,
                "range of heads": np.ptp(each, axis=-1),
            } | {f"head {i + 1}": head for i, head in enumerate(each.T)}  # fmt: skip
            labels = {"data": data, "split": split, "seeds": len(seeds)}
            rows += [
                {**labels, "what": what, **estimate(numbers)._asdict()}
                for what, numbers in values.items()
            ]
    return pd.DataFrame(rows)


def _accuracy(lead: np.ndarray, run: np.ndarray) -> np.ndarray:
    """Share of comparisons with a positive lead, (seeds, members)."""
    return pd.DataFrame(lead > 0).groupby(run).mean().to_numpy()


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One panel a kind of data: dots are heads, lines the single model and the mean of heads."""
    axes = canvas.subplots(1, len(DATA))
    for ax, data in zip(axes, DATA, strict=True):
        _panel(ax, table[table.data == data])
        ax.set(title=data, xlabel="head")
    axes[0].set_ylabel("accuracy on unseen pairs")
    handles, labels = axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=3)


def _panel(ax: Axes, part: pd.DataFrame) -> None:
    numbers = np.arange(1, MEMBERS + 1)
    for shift, (split, colour) in zip((-0.15, 0.15), COLOURS.items(), strict=True):
        rows = part[part.split == split].set_index("what")
        each = rows.loc[[f"head {i}" for i in numbers]]
        errors = (each["mean"] - each.low, each.high - each["mean"])
        ax.errorbar(numbers + shift, each["mean"], yerr=errors, fmt="o", ms=2.5, lw=0.8,
                    color=colour, label=f"each head, {split} data")  # fmt: skip
        ax.axhline(rows["mean"]["mean of heads"], color=colour, ls="--", lw=1,
                   label=f"mean of heads, {split} data")  # fmt: skip
    single = part[part.what == "single"].iloc[0]
    ax.axhline(single["mean"], color=ORANGE, label="single model")
    ax.axhspan(single.low, single.high, color=ORANGE, alpha=0.2, lw=0)
    ax.set_xticks((1, 4, 7, 10))


def caption(table: pd.DataFrame) -> str:
    """What is compared, and how much heads of one run differ."""
    ranges = ", ".join(
        f"{_read(table, data, 'same', 'range of heads').mean:.3f} ({data})" for data in DATA
    )
    return (
        f"Share of unseen comparisons (a prompt's best response with one that the data do not "
        f"compare it with) that each of {MEMBERS} heads decides rightly, beside the single model "
        f"on whose trunk they are. Means over {int(table.seeds.max())} seeds (draws) with 95% "
        "intervals. Data of the heads: the same for all, as in the paper, or a bootstrap resample "
        "each. Averaged over seeds, heads are alike by symmetry; in one run the best and the "
        f"worst head that share the data differ by, on average, {ranges}."
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """Whether heads are as good as the single model, and what their mean adds."""
    found = {split: {data: _read(table, data, split, "head - single") for data in DATA}
             for split in SPLITS}  # fmt: skip
    close = [max(abs(gap.low), abs(gap.high)) <= MARGIN for gap in found["same"].values()]
    together = {data: _read(table, data, "bootstrap", "mean of heads - single") for data in DATA}
    ranges = [_read(table, data, "same", "range of heads").mean for data in DATA]
    measured = "; ".join(
        f"{label}: {', '.join(f'{gap} ({data})' for data, gap in found[split].items())}"
        for split, label in SPLITS.items()
    )
    means = ", ".join(f"{gap} ({data})" for data, gap in together.items())
    return [
        Finding(
            "Each head on the frozen trunk is about as accurate as the single model.",
            f"Accuracy of a head less that of the single model, within {MARGIN:g} being as "
            f"accurate: {measured}. Mean of resampled heads less the single model: {means}.",
            "reproduces" if all(close) else "in part" if any(close) else "differs",
        ),
        Finding(
            "The heads are on a par with one another.",
            f"The best head of a run is more accurate than the worst by {min(ranges):.3f} to "
            f"{max(ranges):.3f}, depending on the data.",
            "reproduces" if max(ranges) <= 2 * MARGIN
            else "in part" if min(ranges) <= 2 * MARGIN else "differs",
        ),
    ]  # fmt: skip


def _read(table: pd.DataFrame, data: str, split: str, what: str) -> Estimate:
    row = table[(table.data == data) & (table.split == split) & (table.what == what)].iloc[0]
    return Estimate(row["mean"], row.low, row.high)


FIGURE = Figure(
    "banerjee2024.fig9", "Fig. 9", "Accuracy of ten heads beside the single reward model",
    {"toy": 3}, (TEXT, 2.6), compute, draw, caption, findings,
)  # fmt: skip
