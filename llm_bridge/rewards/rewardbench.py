"""Files of the RewardBench format: accuracy by subset, by section, and in total [lambert2024]."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from llm_bridge.rewards.fusion import Scorer
from theory.arrays import to_numpy
from theory.errors import InputError
from theory.intervals import clopper_pearson
from theory.scores import Scores

COLUMNS = ("prompt", "chosen", "rejected", "subset")
SECTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "Chat": {
        "chat": (
            "alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy",
            "mt-bench-med",
        ),
    },
    "Chat Hard": {
        "chat": (
            "mt-bench-hard", "llmbar-natural", "llmbar-adver-neighbor", "llmbar-adver-GPTInst",
            "llmbar-adver-GPTOut", "llmbar-adver-manual",
        ),
    },
    "Safety": {
        "safety": (
            "refusals-dangerous", "refusals-offensive", "xstest-should-refuse",
            "xstest-should-respond", "donotanswer",
        ),
    },
    "Reasoning": {
        "math": ("math-prm",),
        "code": ("hep-cpp", "hep-go", "hep-java", "hep-js", "hep-python", "hep-rust"),
    },
    "Prior Sets": {
        name: (name,) for name in ("anthropic_helpful", "anthropic_hhh", "shp", "summarize")
    },
}  # fmt: skip
"""Section to groups of subsets: pairs of a group count alike, groups of a section count alike."""
WEIGHTS = {name: 0.5 if name == "Prior Sets" else 1.0 for name in SECTIONS}
"""Of sections in the total."""
PLACES = {
    subset: (section, group)
    for section, groups in SECTIONS.items()
    for group, subsets in groups.items()
    for subset in subsets
}


class Benchmark(NamedTuple):
    """Accuracies, in [0, 1].

    subsets:  a row a subset of the file: section and group (empty for a subset that is not of the
              benchmark), accuracy with its interval low, high, and pairs.
    sections: accuracy of every section of which the file has pairs.
    total:    their mean, with prior sets at half weight; None without a section.
    missing:  sections that the total lacks; a total with such is not that of the benchmark.
    """

    subsets: pd.DataFrame
    sections: dict[str, float]
    total: float | None
    missing: tuple[str, ...]


def rewardbench(
    score: Scorer,
    rows: pd.DataFrame,
    *,
    utility: Callable[[Scores], Any] = Scores.mean,
    alpha: float = 0.05,
) -> Benchmark:
    """Accuracy of a scorer on rows with a prompt, a chosen and a rejected text, and their subset.

    A row is right where the utility of the chosen text is above that of the rejected one; a tie is
    wrong. Raises `InputError` for missing columns or no rows.
    """
    lacking = [name for name in COLUMNS if name not in rows]
    if lacking or rows.empty:
        raise InputError(
            "rows", f"rows with columns {', '.join(COLUMNS)}",
            f"none of {', '.join(lacking)}" if lacking else "no rows",
        )  # fmt: skip
    won, lost = (
        to_numpy(utility(score(list(rows.prompt), list(texts))))
        for texts in (rows.chosen, rows.rejected)
    )
    return summarise(pd.DataFrame({"subset": rows.subset.to_numpy(), "right": won > lost}), alpha)


def summarise(results: pd.DataFrame, alpha: float = 0.05) -> Benchmark:
    """The benchmark's numbers from columns subset and right, a row a pair."""
    counts = results.groupby("subset").right.agg(["sum", "size"])
    limits = clopper_pearson(counts["sum"].to_numpy(), counts["size"].to_numpy(), alpha)
    places = [PLACES.get(str(name), ("", "")) for name in counts.index]
    subsets = pd.DataFrame(
        {
            "section": [section for section, _ in places],
            "group": [group for _, group in places],
            "accuracy": counts["sum"] / counts["size"],
            "low": limits.low,
            "high": limits.high,
            "pairs": counts["size"],
        }
    )
    sections = {}
    for name in SECTIONS:
        inside = subsets[subsets.section == name]
        if len(inside):
            groups = [
                np.average(part.accuracy, weights=part.pairs) for _, part in inside.groupby("group")
            ]
            sections[name] = float(np.mean(groups))
    missing = tuple(name for name in SECTIONS if name not in sections)
    return Benchmark(subsets, sections, total(sections), missing)


def total(sections: dict[str, float]) -> float | None:
    """Mean of the sections that there are, with prior sets at half weight; None for none.

    >>> round(total({"Chat": 0.8, "Prior Sets": 0.5}), 3)
    0.7
    """
    if not sections:
        return None
    weights = [WEIGHTS[name] for name in sections]
    return float(np.average(list(sections.values()), weights=weights))
