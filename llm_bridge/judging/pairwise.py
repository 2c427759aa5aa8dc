"""Policy against policy: shares of wins, win rates, and how sure they are."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from llm_bridge.judging.judges import Verdicts
from theory.errors import InputError
from theory.intervals import Interval, clopper_pearson, paired_difference
from theory.nested import nested_bootstrap
from theory.win_rates import length_controlled_win_rate, win_rate, win_rate_interval

OUTCOME_OF = {"win": 1.0, "tie": 0.5, "lose": 0.0}
DRAWS = 1000
"""Resamples of a bootstrap."""


def head_to_head(
    verdicts: Verdicts,
    difference: Float[np.ndarray, " samples"],
    *,
    clusters: Sequence[Any] | None = None,
    level: float = 0.95,
    draws: int = DRAWS,
    rng: np.random.Generator,
) -> dict[str, float | None]:
    """One row on the first policy against the second; pairs without a verdict are left out.

    difference: in length, the first response's less the second's.
    clusters:   a label of each pair where pairs are not independent, such as its prompt or seed.

    pairs, missing:    pairs with and without a verdict.
    win, tie, lose:    shares of the former; `win_rate` is win + tie / 2.
    p_value:           of wins as likely as losses, exact, from the pairs that are not ties.
    length_controlled: see `theory.win_rates.length_controlled_win_rate`; `longer` is the share of
                       pairs in which the first response is the longer one. Near 0 or 1 the former
                       is an extrapolation.
    disagreement:      see `Verdicts`.

    `_low` and `_high` are limits at `level`, each by itself. Of independent pairs they are exact
    for the shares [clopper1934], conservative for the win rate, and a bootstrap over pairs for the
    length-controlled one, NaN where a resample does not determine it. With clusters all of them are
    bootstraps that redraw the clusters first, and there is no p-value.

    Raises `InputError` as `bootstrap_interval`.
    """
    outcomes, alpha = verdicts.outcomes, 1 - level
    judged = ~np.isnan(outcomes)
    pairs = int(judged.sum())
    row: dict[str, float | None] = {"pairs": pairs, "missing": len(outcomes) - pairs}
    limits: dict[str, Interval] = {}
    if clusters is None:
        counts = {name: int((outcomes == kind).sum()) for name, kind in OUTCOME_OF.items()}
        limits = _exact(counts, pairs, alpha)
        won, lost = counts["win"], counts["lose"]
        row["p_value"] = paired_difference(won, lost, pairs, alpha).p_value if pairs else np.nan
    table = np.stack([outcomes, difference.astype(float)], axis=-1)
    for name, statistic in STATISTICS.items():
        low, high = limits.get(name) or bootstrap_interval(
            table, statistic, clusters, level=level, draws=draws, rng=rng
        )
        row |= {name: statistic(table), f"{name}_low": float(low), f"{name}_high": float(high)}
    row["longer"] = float((difference[judged] > 0).mean()) if pairs else np.nan
    return {**row, "disagreement": verdicts.disagreement}


def bootstrap_interval(
    rows: Float[np.ndarray, "rows columns"],
    statistic: Callable[[np.ndarray], float],
    clusters: Sequence[Any] | None,
    *,
    level: float,
    draws: int,
    rng: np.random.Generator,
) -> Interval:
    """Percentile limits of a statistic of the rows, whose clusters are redrawn before their rows.

    clusters: a label of each row; None makes each row its own. See `theory.nested` for what few
    clusters do to such limits. Raises `InputError` for fewer than two clusters, clusters that
    differ in size, or a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise InputError("level", "in (0, 1)", level)
    labels = np.arange(len(rows)) if clusters is None else pd.factorize(np.asarray(clusters))[0]
    sizes = np.bincount(labels)
    if len(sizes) < 2 or sizes.min() != sizes.max():
        raise InputError(
            "clusters", "at least two, of one size", f"sizes {sorted(set(sizes.tolist()))}",
            "resample what there is more of, such as responses",
        )  # fmt: skip
    table = rows[np.argsort(labels, kind="stable")].reshape(len(sizes), sizes[0], rows.shape[1])
    found = nested_bootstrap(
        table, lambda drawn: statistic(drawn.reshape(rows.shape)), rng=rng, draws=draws
    )
    return Interval(*np.quantile(found, [(1 - level) / 2, (1 + level) / 2]))


def _exact(counts: dict[str, int], pairs: int, alpha: float) -> dict[str, Interval]:
    if not pairs:
        return dict.fromkeys([*counts, "win_rate"], Interval(np.nan, np.nan))
    limits = {name: clopper_pearson(count, pairs, alpha) for name, count in counts.items()}
    limits["win_rate"] = win_rate_interval(counts["win"], counts["lose"], pairs, alpha)
    return limits


def _share(kind: float) -> Callable[[np.ndarray], float]:
    """Of one outcome among those of the first column that are not NaN."""

    def share(table: np.ndarray) -> float:
        judged = table[~np.isnan(table[:, 0]), 0]
        return float((judged == kind).mean()) if judged.size else np.nan

    return share


STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    **{name: _share(kind) for name, kind in OUTCOME_OF.items()},
    "win_rate": lambda table: win_rate(table[:, 0]),
    "length_controlled": lambda table: length_controlled_win_rate(table[:, 0], table[:, 1]),
}
"""Of a table of outcomes and differences in length, (pairs, 2)."""
