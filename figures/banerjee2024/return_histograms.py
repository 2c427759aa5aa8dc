"""Figs. 3-5: histograms of the true return of both methods, in two readings."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from figures.banerjee2024.return_readings import METHODS, RANGES, compute
from figures.figure import Figure, Setting
from theory.style import AWARE, BLACK, TEXT, UNAWARE

READINGS = ("closed form", "simplex")
COLOURS = dict(zip(METHODS, (UNAWARE, AWARE), strict=True))


def compute_both(setting: Setting) -> pd.DataFrame:
    """The numbers of Figs. 3 and 4 in one table."""
    return pd.concat([compute(setting, spread) for spread in RANGES])


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One row a range of variances, one column a reading."""
    spreads = list(dict.fromkeys(table.spread))
    axes = canvas.subplots(len(spreads), len(READINGS), squeeze=False, sharex=True)
    for row, spread in zip(axes, spreads, strict=True):
        part = table[table.spread == spread]
        for ax, reading in zip(row, READINGS, strict=True):
            _panel(ax, part, reading)
            low, high = RANGES[spread]
            ax.set_title(f"{reading}, variances in ({low:g}, {high:g})")
        row[0].set_ylabel("density  [1 / reward]")
    for ax in axes[-1]:
        ax.set_xlabel(r"improvement $(\pi-\pi_0)^\top r^*$  [reward]")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=4)


def caption(table: pd.DataFrame) -> str:
    """Numbers of both readings beside the printed ones, and what cannot be matched."""
    sentences = []
    for spread, part in table.groupby("spread", sort=False):
        for reading in READINGS:
            rows = part[part.reading == reading]
            draws, rewards = int(rows.draws.max()), int(rows.rewards.max())
            over = f"{draws:,} draws" + (f" over {rewards} reward vectors" if rewards > 1 else "")
            numbers = "; ".join(_summary(rows, method) for method in METHODS)
            sentences.append(
                f"{str(spread).capitalize()} variability, {reading}: {numbers}; {over}."
            )
        printed = part[part.reading == "printed"]
        sentences.append(
            "Printed: "
            + "; ".join(
                f"{m} mean {_read(printed, m, 'mean'):g}, sd {_read(printed, m, 'sd'):g}"
                for m in METHODS
            )
            + "."
        )
    if "high" in set(table.spread):
        sentences.append(
            "The printed high-variability means 4.643 and 4.644 cannot be matched together with "
            "the printed sds: closed forms of these sds have means that differ by 0.1, and on the "
            "simplex, where the means agree, the aware sd is smaller than printed."
        )
    sentences.append(
        "Square brackets: exact. Intervals: 95%; on the simplex those of the average over reward "
        "vectors. Curves: the exact law for the aware policy, a normal law with the exact mean and "
        "sd for the unaware one. The paper does not give r, eps, the reference or the number of "
        "draws; those used were chosen afterwards to fit."
    )
    return " ".join(sentences)


def _panel(ax: Axes, part: pd.DataFrame, reading: str) -> None:
    """Histograms, laws where there are some, and the sds beside those printed."""
    for line, (method, colour) in enumerate(COLOURS.items()):
        rows = part[(part.reading == reading) & (part.method == method)]
        bins, law = rows[rows.statistic == "density"], rows[rows.statistic == "law"]
        ax.fill_between(bins.x, bins.value, step="mid", color=colour, alpha=0.45, lw=0,
                        label=f"variance-{method}")  # fmt: skip
        ax.plot(law.x, law.value, color=colour, lw=1, label=f"law, variance-{method}")
        printed = _read(part[part.reading == "printed"], method, "sd")
        ax.text(0.99, 0.97 - 0.1 * line, f"sd {_read(rows, method, 'sd'):.3f}, printed {printed:g}",
                color=colour, ha="right", va="top", transform=ax.transAxes, fontsize=7)  # fmt: skip
    ax.axvline(0, color=BLACK, lw=0.6)
    ax.set_ylim(0, 1.1 * ax.get_ylim()[1])


def _summary(rows: pd.DataFrame, method: str) -> str:
    """Simulated numbers of one method with intervals, exact ones in brackets."""
    of_method = rows[rows.method == method].set_index("statistic")
    parts = []
    for name in ("mean", "sd", "P(harm)"):
        found = of_method.loc[name]
        exact = f"exact {name}"
        tail = f" [{of_method.value[exact]:.4f}]" if exact in of_method.index else ""
        parts.append(f"{name} {found.value:.4f} ({found.low:.4f} to {found.high:.4f}){tail}")
    if "mean return" in of_method.index:
        parts.append(f"mean return {of_method.value['mean return']:.3f}")
    return f"{method} " + ", ".join(parts)


def _read(rows: pd.DataFrame, method: str, statistic: str) -> float:
    found = rows[(rows.method == method) & (rows.statistic == statistic)].value
    return float(found.iloc[0])


FIGURES = (
    Figure(
        "banerjee2024.fig3", "Fig. 3", "True return of both methods, high variability",
        {"toy": 6, "tiny": 60}, (TEXT, 2.7), partial(compute, spread="high"), draw, caption,
    ),
    Figure(
        "banerjee2024.fig4", "Fig. 4", "True return of both methods, low variability",
        {"toy": 6, "tiny": 60}, (TEXT, 2.7), partial(compute, spread="low"), draw, caption,
    ),
    Figure(
        "banerjee2024.fig5", "Fig. 5", "True return of both methods in both settings",
        {"toy": 12, "tiny": 120}, (TEXT, 4.6), compute_both, draw, caption,
    ),
)  # fmt: skip
