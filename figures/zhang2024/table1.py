"""Table 1: true reward by kind of ensemble, and by what its members see."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting, verdict
from figures.study import curves
from figures.zhang2024 import runs
from figures.zhang2024.claims import SEARCHES, between, kinds_between, paired, said
from figures.zhang2024.runs import INDEPENDENT, KINDS, LAPLACE, LINEAR, LORA, MEAN, SINGLE
from theory import style

COUNT = 16
"""Responses of best-of-n."""
SAME, BOOTSTRAP, FRESH = "same", "bootstrap", "fresh"
DATA = {SAME: "same data", BOOTSTRAP: "resamples", FRESH: "data of their own"}
COLOURS = {SAME: style.BLACK, BOOTSTRAP: style.ORANGE, FRESH: style.BLUE}
VARIANTS = (
    (SINGLE, SAME), *((kind, split) for split in DATA for kind in KINDS), (LAPLACE, SAME),
)  # fmt: skip
PRINTED = {INDEPENDENT: (4.16, 0.14), LINEAR: (4.20, 0.10), LORA: (4.35, 0.12)}
"""MT-Bench average and its error after PPO [zhang2024, Table 1]."""
AS_PRINTED = "as printed"


def compute(setting: Setting) -> pd.DataFrame:
    """Means at the end of each search, paired differences, and the paper's scores."""
    seeds = runs.seeds(setting)
    rows = pd.concat(
        [runs.rows(kind, split, MEAN, seeds, (COUNT,), runs.STEPS) for kind, split in VARIANTS]
    )
    ends = rows[rows.effort == rows.groupby("optimiser").effort.transform("max")]
    printed = [
        {"optimiser": AS_PRINTED, "kind": kind, "split": SAME, "metric": "MT-Bench", "mean": mean,
         "low": mean - error, "high": mean + error}
        for kind, (mean, error) in PRINTED.items()
    ]  # fmt: skip
    means = curves(ends, ("gold",), by=("optimiser", "kind", "split"))
    parts = [means, paired(rows, "gold", "split"), pd.DataFrame(printed)]
    return pd.concat(parts, ignore_index=True)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One row a kind, one colour a split."""
    axes = canvas.subplots(1, 3, sharey=True)
    kinds = (SINGLE, *KINDS, LAPLACE)
    shifts = dict(zip(DATA, np.linspace(0.2, -0.2, len(DATA)), strict=True))
    titles = {"best-of-n": f"best of {COUNT}", "PPO": "PPO", AS_PRINTED: AS_PRINTED}
    for ax, (optimiser, title) in zip(axes, titles.items(), strict=True):
        part = table[(table.optimiser == optimiser) & table.kind.notna()]
        for split, rows in part.groupby("split", sort=False):
            places = [-kinds.index(kind) + shifts[str(split)] for kind in rows.kind]
            errors = (rows["mean"] - rows.low, rows.high - rows["mean"])
            ax.errorbar(rows["mean"], places, xerr=errors, fmt="o", color=COLOURS[str(split)],
                        label=DATA[str(split)])  # fmt: skip
        ax.set(title=title, xlabel="MT-Bench score" if optimiser == AS_PRINTED else "true reward")
    axes[0].set_yticks([-place for place in range(len(kinds))], kinds)
    axes[0].set_ylim(0.5 - len(kinds), 0.5)
    handles, labels = axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=len(DATA))


def caption(table: pd.DataFrame) -> str:
    """Which data, which searches, and what the third panel is."""
    return (
        f"Mean of {runs.MEMBERS} reward models of each kind, on the same comparisons, on bootstrap "
        "resamples of them, or on as many comparisons of their own each (which is more data); "
        f"Laplace: {runs.MEMBERS} draws from the posterior of one model. Best of {COUNT} in exact "
        f"law, and the end of PPO. {int(table.seeds.max())} seeds (draws), bars are 95% intervals "
        "over them; kinds share their seeds, so differences are surer than the bars. Right: the "
        "paper's MT-Bench scores with the errors that it prints."
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """The order of the kinds; then what data and posterior add."""
    first, second = (
        kinds_between(table, *pair, SAME) for pair in ((LORA, LINEAR), (LINEAR, INDEPENDENT))
    )
    fresh, resampled = (
        {name: between(table, name, (INDEPENDENT, split), (INDEPENDENT, SAME)) for name in SEARCHES}
        for split in (FRESH, BOOTSTRAP)
    )
    posterior = kinds_between(table, LAPLACE, INDEPENDENT, SAME)
    return [
        Finding(
            "After PPO, LoRA scores highest and linear layers score above independent members.",
            f"LoRA minus linear {said(first)}; linear minus independent {said(second)}.",
            verdict([first["PPO"].low > 0, second["PPO"].low > 0]),
        ),
        Finding(
            "Random seeds diversify members enough: the paper gives all of them the same data.",
            f"Independent members on resamples minus on the same data {said(resampled)}; on data "
            f"of their own {said(fresh)}; draws from a Laplace posterior minus independent "
            f"members {said(posterior)}.",
            verdict([found.high < 0 for found in (*resampled.values(), *posterior.values())]),
        ),
    ]


FIGURE = Figure(
    "zhang2024.table1", "Table 1", "True reward by kind of ensemble", {"toy": 8, "tiny": 40},
    (style.TEXT, 2.6), compute, draw, caption, findings,
)  # fmt: skip
