"""Fig. 4: which part of the selection matters; and choices that the paper does not try."""

from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure as Canvas

from figures.figure import Figure, Finding, Setting, verdict
from figures.study import Estimate
from figures.ugda2025.comparisons import compared, errors, gap, grid_note, levels
from figures.ugda2025.runs import EXACT, FLIPPED, PPO, UGDA, Method
from theory import style

NOTHING, RANDOM, VARIANCE, INFLUENCE, BOTH = (
    "no labels", "random", "variance", "influence", "both (UGDA)",
)  # fmt: skip
SIZE, BOTH_SIZE, INFORMATION = "|influence|", "both with |influence|", "information"
METHODS = {
    NOTHING: PPO,
    RANDOM: Method(replace(EXACT, selection="random")),
    VARIANCE: Method(replace(EXACT, selection="variance")),
    INFLUENCE: Method(replace(EXACT, selection="influence")),
    BOTH: UGDA,
    INFORMATION: Method(replace(EXACT, selection="information")),
    BOTH_SIZE: Method(replace(EXACT, sign="either")),
    SIZE: Method(replace(EXACT, sign="either", selection="influence")),
}
OURS = (INFORMATION, BOTH_SIZE, SIZE)
NOISES = {"clean": 0.0, "flipped": FLIPPED}
LOOK = {"clean": (style.BLUE, "o"), "flipped": (style.VERMILION, "s")}
OTHERS = (RANDOM, VARIANCE, INFLUENCE)


def compute(setting: Setting) -> pd.DataFrame:
    """All selections with as many labels, on both kinds of data."""
    pairs = [(BOTH, other) for other in OTHERS]
    pairs += [(name, RANDOM) for name in (VARIANCE, INFLUENCE, *OURS)]
    tables = [
        compared(setting, METHODS, ("gold", "accuracy"), pairs, noise).assign(data=name)
        for name, noise in NOISES.items()
    ]
    return pd.concat(tables, ignore_index=True)


def draw(table: pd.DataFrame, canvas: Canvas) -> None:
    """One row a selection."""
    ax = canvas.subplots()
    order = list(METHODS)
    for name, (colour, marker) in LOOK.items():
        rows = levels(table[table.data == name], "gold")
        ax.errorbar(rows["mean"], [-order.index(m) for m in rows.method], xerr=errors(rows),
                    fmt=marker, color=colour, label=f"{name} comparisons")  # fmt: skip
    ax.axhline(0.5 - order.index(OURS[0]), color=style.BLACK, lw=0.5, ls=":")
    ax.set_yticks([-place for place in range(len(order))], order)
    ax.set(xlabel="mean gold reward")
    canvas.legend(loc="outside lower center", ncols=2)


def caption(table: pd.DataFrame) -> str:
    """What is compared."""
    labels = int(table.labels.max())
    return (
        f"Selections of {labels} samples a run to relabel (the paper does not say how many its "
        "ablations relabel; here all relabel as many). Below the dotted line, beyond the paper: "
        "expected information of a label under a Laplace posterior, asked in turn; and the size of "
        "the influence, so that samples that would hurt the validation loss count too. "
        f"'Flipped' has {FLIPPED:.0%} of the comparisons flipped. " + grid_note(table)
    )


def findings(table: pd.DataFrame) -> list[Finding]:
    """Both parts help; then the sign of the influence, and information."""
    over = {
        f"{other}, {data}": gap(part, BOTH, other)
        for data, part in table.groupby("data", sort=False)
        for other in OTHERS
    }
    return [
        Finding(
            "Removing either part of the selection hurts, and random selection is worse.",
            f"both minus {_said(over)}.",
            verdict([number.low > 0 for number in over.values()]),
        ),
        _beyond(
            table, SIZE,
            "Samples that help the validation loss are those worth relabelling (the paper ranks by "
            "signed influence).",
            refutes=True,
        ),
        _beyond(
            table, INFORMATION,
            "Expected information of a label would be a better rule than a random choice (ours).",
            refutes=False,
        ),
    ]  # fmt: skip


def _beyond(table: pd.DataFrame, name: str, claim: str, *, refutes: bool) -> Finding:
    """A selection of ours against a random one, beside the paper's influence."""
    parts = list(table.groupby("data", sort=False))
    gain = {str(data): gap(part, name, RANDOM) for data, part in parts}
    signed = {str(data): gap(part, INFLUENCE, RANDOM) for data, part in parts}
    better = [number.low > 0 for number in gain.values()]
    measured = f"{name} minus random {_said(gain)}"
    if refutes:
        measured += f"; influence minus random {_said(signed)}"
        better = [number.low > 0 for number in signed.values()]
    return Finding(claim, f"{measured}.", verdict(better))


def _said(numbers: dict[str, Estimate]) -> str:
    return "; ".join(f"{name}: {number}" for name, number in numbers.items())


FIGURE = Figure(
    "ugda2025.fig4", "Fig. 4", "What the selection is made by", {"toy": 12, "tiny": 40},
    (style.COLUMN, 3.0), compute, draw, caption, findings,
)  # fmt: skip
