"""Fig. 6: variance across ten heads of the chosen response's score, and of its lead."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from figures.banerjee2024.reward_sets import DATA, MEMBERS, NOTABLE, SPLITS, heads, unseen
from figures.figure import Figure, Finding, Setting
from figures.study import Estimate, estimate
from theory.style import BLUE, ORANGE, TEXT

SEEDS = {"toy": 64}
EDGES = np.geomspace(1e-2, 1e2, 25)
QUANTITIES = {"chosen": "chosen response", "lead": "chosen − rejected"}
COLOURS = dict(zip(SPLITS, (BLUE, ORANGE), strict=True))
PRINTED = 3.0
"""The median variance of the chosen response's score exceeds it in each of the paper's sets."""


def compute(setting: Setting) -> pd.DataFrame:
    """Shares of unseen comparisons by variance across heads, and statistics by seed."""
    seeds, rows = range(setting.seed, setting.seed + setting.count(SEEDS)), []
    for data in DATA:
        for split in SPLITS:
            pairs = unseen(heads(data, split), seeds)
            lead = pairs.chosen - pairs.rejected
            frame = pd.DataFrame({
                "run": pairs.run, "chosen": pairs.chosen.var(-1, ddof=1),
                "lead": lead.var(-1, ddof=1), "size": np.abs(lead.mean(-1)),
            })  # fmt: skip
            labels = {"data": data, "split": split, "seeds": len(seeds)}
            rows += [{**labels, **row} for row in _summarised(frame)]
    return pd.DataFrame(rows)


def _summarised(pairs: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Histograms; medians, and root mean variances relative to the mean size of a lead."""
    by_run = pairs.groupby("run")
    for quantity in QUANTITIES:
        shares = np.histogram(pairs[quantity].clip(EDGES[0], EDGES[-1]), EDGES)[0] / len(pairs)
        for left, right, share in zip(EDGES[:-1], EDGES[1:], shares, strict=True):
            yield {"quantity": quantity, "left": left, "right": right, "share": share}
        relative = by_run[quantity].mean() ** 0.5 / by_run["size"].mean()
        for name, values in (("median", by_run[quantity].median()), ("relative sd", relative)):
            yield {"quantity": quantity, "statistic": name, **estimate(values)._asdict()}


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One row a quantity, one column a kind of preference data."""
    axes = canvas.subplots(len(QUANTITIES), len(DATA), sharex=True, sharey=True)
    for row, (quantity, label) in zip(axes, QUANTITIES.items(), strict=True):
        for ax, data in zip(row, DATA, strict=True):
            _histograms(ax, table[(table.quantity == quantity) & (table.data == data)])
            if quantity == "chosen":
                ax.set_title(data)
        row[0].set_ylabel(f"{label}\nshare of comparisons")
    for ax in axes[-1]:
        ax.set_xlabel("variance  [log-odds²]")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=2)


def _histograms(ax: Axes, part: pd.DataFrame) -> None:
    """Both splits, and their medians."""
    for split, colour in COLOURS.items():
        bins = part[(part.split == split) & part.left.notna()]
        ax.stairs(bins.share, [*bins.left, bins.right.iloc[-1]], fill=True, color=colour,
                  alpha=0.5, label=SPLITS[split])  # fmt: skip
        median = part[(part.split == split) & (part.statistic == "median")]["mean"].iloc[0]
        ax.axvline(median, color=colour, lw=1)
    ax.set_xscale("log")


def caption(table: pd.DataFrame) -> str:
    """What heads, data and comparisons are."""
    return (
        f"Sample variance over {MEMBERS} heads on the frozen trunk of one reward model, of the "
        "score of a prompt's best response (top) and of its lead over another response (bottom), "
        "over all such comparisons that the preference data do not have. Columns: preference "
        "data, in place of the paper's test sets. Heads differ by their initial weights alone "
        "(blue, as in the paper) or also by bootstrap resamples of the comparisons (orange). "
        f"Lines: medians, averaged over {int(table.seeds.max())} seeds (draws). Scores are not "
        "centred; a lead does not depend on that."
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """The size of the variances, whether heads are translations, and what their spread omits."""
    return [_size(table), _translations(table), _finite_data(table)]


def _size(table: pd.DataFrame) -> Finding:
    medians = _statistics(table, "same", "chosen", "median")
    relative = _statistics(table, "same", "chosen", "relative sd")
    above = all(median.low > PRINTED for median in medians.values())
    notable = all(sd.low > NOTABLE for sd in relative.values())
    return Finding(
        "The median variance of the chosen response's score over ten heads is above 3 in every "
        "set: heads disagree.",
        f"Median variance {_listed(medians)}; sd relative to the mean size of a lead "
        f"{_listed(relative)}.",
        "reproduces" if above else "in part" if notable else "differs",
    )


def _translations(table: pd.DataFrame) -> Finding:
    relative = _statistics(table, "same", "lead", "relative sd")
    notable = [sd.low > NOTABLE for sd in relative.values()]
    return Finding(
        "Heads are not translations of one another: the variance of differences is not at zero.",
        f"Sd of a lead over heads, relative to its mean size: {_listed(relative)}.",
        "reproduces" if all(notable) else "in part" if any(notable) else "differs",
    )


def _finite_data(table: pd.DataFrame) -> Finding:
    same, bootstrap = (_statistics(table, split, "lead", "median") for split in SPLITS)
    ratios = {data: bootstrap[data].mean / same[data].mean for data in DATA}
    larger = any(bootstrap[data].low > same[data].high for data in DATA)
    return Finding(
        "The variance over heads reflects the finite data set and the optimisation.",
        "Heads that see the same comparisons cannot show what other data would have taught them; "
        "with a bootstrap resample each, the median variance of a lead is larger by factors of "
        + ", ".join(f"{ratio:.1f} ({data})" for data, ratio in ratios.items())
        + ".",
        "in part" if larger else "reproduces",
    )


def _statistics(table: pd.DataFrame, split: str, quantity: str, name: str) -> dict[str, Estimate]:
    """One statistic of every kind of data."""
    part = table[
        (table.split == split) & (table.quantity == quantity) & (table.statistic == name)
    ].set_index("data")
    return {data: Estimate(*part.loc[data, ["mean", "low", "high"]]) for data in DATA}


def _listed(estimates: dict[str, Estimate]) -> str:
    return ", ".join(f"{value} ({data})" for data, value in estimates.items())


FIGURE = Figure(
    "banerjee2024.fig6", "Fig. 6", "Variance of scores and of their differences over ten heads",
    {"toy": 3}, (TEXT, 3.4), compute, draw, caption, findings,
)  # fmt: skip
