"""UGDA on a small language model: one study, which figures share, and how its rows are drawn."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from figures.figure import Setting
from figures.kept import kept
from figures.language_models import require_packages
from figures.study import Estimate, estimate
from figures.ugda2025.comparisons import errors
from figures.ugda2025.runs import FLIPPED
from theory import style

SEEDS = {data: {"toy": count, "tiny": count, "full": 40}
         for data, count in (("clean", 20), ("flipped", 10))}  # fmt: skip
"""Preference data sets, each with reward models, a collection and policies of its own."""
NOISES = {"clean": 0.0, "flipped": FLIPPED}
CHANGES: dict[str, dict[str, Any]] = {
    "clean": {
        "selections": ("both", "variance", "influence", "information", "both_size",
                       "influence_size"),
        "labels": ("anchored",),
    },
    "flipped": {"selections": ("both",)},
}  # fmt: skip
"""What differs from the options of `python -m llm_bridge ugda`, besides the noise."""
UGDA, PPO, RANDOM, RLR, SFT = "UGDA, 25%", "PPO, 0%", "PPO, 25%", "RLR, 25%", "SFT, 0%"
METRICS = {"gold": "judged_gold", "variance": "judged_variance", "accuracy": "accuracy",
           "win": "win", "tie": "tie", "lose": "lose"}  # fmt: skip
LOOK = {"clean": (style.BLUE, "o"), "flipped": (style.VERMILION, "s")}


def rows(setting: Setting, data: str) -> pd.DataFrame:
    """Records of the study on one kind of data, which is kept and goes on where it was cut off."""
    require_packages()
    from llm_bridge.commands.refining import Ugda, study
    from llm_bridge.data.pairs import Labelling

    default = Ugda()
    labelling = Labelling(default.labelling.pairs, noise=NOISES[data])
    plan = Ugda(labelling=labelling, seeds=setting.count(SEEDS[data]), resume=True, **CHANGES[data])
    out = kept(("ugda", setting.seed, replace(plan, seeds=1)), study)
    found = study(replace(plan, workers=setting.workers, out=out), start=setting.seed).rows()
    return found[found.seed < setting.seed + plan.seeds]


def estimates(table: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Of each method at the end, and of first minus second, paired by seed.

    Columns as in `figures.ugda2025.comparisons.compared`.
    """
    last = table.dropna(subset="labels")
    last = last.assign(method=last.objective + ", " + last.share)
    labels, found = last.groupby("method").labels.max(), []
    for metric, column in METRICS.items():
        wide = last.pivot(index="seed", columns="method", values=column)
        alone = [(name, "", wide[name]) for name in wide.columns]
        beside = [(a, b, wide[a] - wide[b]) for a, b in pairs if {a, b} <= set(wide.columns)]
        found += [
            {"method": name, "against": other, "metric": metric, **estimate(values)._asdict(),
             "seeds": len(values), "labels": labels[name]}
            for name, other, values in (*alone, *beside) if values.notna().all()
        ]  # fmt: skip
    return pd.DataFrame(found)


def dots(
    ax: Axes,
    found: pd.DataFrame,
    order: Sequence[str],
    look: tuple[str, str],
    shift: float = 0.0,
    label: str = "",
) -> None:
    """One row a method, those that are not in the order left out."""
    found = found[found.method.isin(order)]
    places = [shift - order.index(name) for name in found.method]
    ax.errorbar(found["mean"], places, xerr=errors(found), fmt=look[1], color=look[0], label=label)


def note(table: pd.DataFrame) -> str:
    """What the runs and intervals of these figures are."""
    return (
        f"Embedded language model of 0.1 million parameters, three low-rank reward models, "
        f"{_numbers(table.seeds)} preference data sets (draws); 95% intervals over them."
    )


def _numbers(seeds: "pd.Series[int]") -> str:
    return " or ".join(str(int(count)) for count in sorted(seeds.dropna().unique(), reverse=True))


def listed(numbers: dict[str, Estimate]) -> str:
    """Estimates by name, as a sentence has them."""
    return "; ".join(f"{name}: {number}" for name, number in numbers.items())
