"""Figs. 5b and 8b: how far scores spread, and how often they lie below the true reward."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, verdict
from figures.rewardrobust2024.claims import estimates, positive, said
from figures.rewardrobust2024.head_scores import AGAIN, CELLS, ENSEMBLES, POINTS, compute
from theory import style

LABELS = dict(zip(CELLS, ("all cells", "cells that no comparison shows"), strict=True))


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """Ranges above, shares below; one column an ensemble."""
    axes = canvas.subplots(2, len(ENSEMBLES), sharex="col", sharey="row")
    for (above, below), ensemble in zip(axes.T, ENSEMBLES, strict=True):
        part = table[table.ensemble == ensemble]
        points = part[part.kind == "percentile"].pivot(index="source", columns="x", values="mean")
        order = list(dict.fromkeys(part[part.kind == "percentile"].source))
        points, where = points.loc[order], np.arange(len(order))
        above.vlines(where, points[POINTS[0]], points[POINTS[-1]], color=style.BLACK, lw=1)
        above.vlines(where, points[POINTS[1]], points[POINTS[-2]], color=style.BLUE, lw=5)
        above.plot(where, points[POINTS[2]], "_", color=style.ORANGE, mew=1.5)
        above.set_title(ensemble)
        for cells, colour, shift in zip(LABELS, (style.BLUE, style.VERMILION), (-0.1, 0.1),
                                        strict=True):  # fmt: skip
            rows = part[(part.kind == "share") & (part.cells == cells)].set_index("source")
            rows = rows.loc[order]
            errors = np.array([rows["mean"] - rows.low, rows.high - rows["mean"]])
            below.errorbar(where + shift, rows["mean"], yerr=errors, fmt="o", color=colour,
                           label=LABELS[cells])  # fmt: skip
        below.axhline(0.5, color=style.REFERENCE, ls=":", lw=1)
        below.set_xticks(where, [name.replace(", ", ",\n") for name in order], rotation=90)
    axes[0, 0].set_ylabel("score, head sds")
    axes[1, 0].set(ylabel="share below the true reward", ylim=(-0.03, 1))
    canvas.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)


def caption(table: pd.DataFrame) -> str:
    """How sources are made comparable."""
    return (
        "Scores of all cells of the 8x8 grid, two comparisons a prompt. Every head and the true "
        "reward are normalised to mean 0 on each prompt and standard deviation 1; heads are "
        "combined after that, and the last column normalises the smallest once more. Top: range "
        "(line), middle half (bar) and median over cells, averaged over seeds. Bottom: share of "
        "cells whose normalised score lies below the normalised true reward, on all cells and on "
        f"those that no comparison shows, with 95% intervals over {int(table.seeds.max())} seeds "
        "(draws)."
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """The smallest score is narrower and lower."""
    narrower, mean = (
        estimates(table, "ensemble", kind="head range minus", source=source)
        for source in ("smallest", "mean")
    )
    lower, again = (
        estimates(table, "ensemble", kind="share minus heads", cells="all", source=source)
        for source in ("smallest", AGAIN)
    )
    heads = {
        ensemble: [
            share.mean
            for source, share in estimates(
                table, "source", ensemble=ensemble, kind="share", cells="all"
            ).items()
            if source.startswith("head")
        ]
        for ensemble in ENSEMBLES
    }
    return [
        Finding(
            "The smallest score has a narrower range than a head.",
            f"Range of a head minus that of the smallest, in head sds: {said(narrower)}; minus "
            f"that of the mean: {said(mean)}.",
            verdict(map(positive, narrower.values())),
        ),
        Finding(
            "A single head lies below the true reward about as often as above it.",
            "Share of cells below, lowest and highest head: "
            + ", ".join(f"{min(s):.3f} and {max(s):.3f} ({name})" for name, s in heads.items())
            + ".",
            verdict(0.4 <= share <= 0.6 for shares in heads.values() for share in shares),
        ),
        Finding(
            "The smallest score lies below the true reward more often than a head does.",
            f"Share of cells below, smallest minus heads: {said(lower)}; when the smallest is "
            f"normalised as a source of its own: {said(again)}.",
            verdict(map(positive, (*lower.values(), *again.values()))),
        ),
    ]


FIGURE = Figure(
    "rewardrobust2024.fig5b", "Figs. 5b and 8b", "Ranges of heads, and under-scoring",
    {"toy": 4, "tiny": 12}, (style.TEXT, 4.4), compute, draw, caption, findings,
)  # fmt: skip
