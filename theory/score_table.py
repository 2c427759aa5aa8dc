"""Scores from a file: one row for each response of each prompt."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from theory import checks
from theory.errors import InputError
from theory.scores import Scores
from theory.tables import read_table

KEYS = ("prompt", "response")
REQUIRED = (*KEYS, "reference")
MEMBER_PREFIX, STD_PREFIX = "member", "std"


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Rectangular scores of `prompts` x `responses`.

    log_reference: (prompts, n) ln pi0, -inf where the reference never answers so.
    scores:        members (prompts, n, k), as read (`centred` them before comparing members).
    gold:          (prompts, n) true rewards, or None.
    """

    prompts: list[object]
    responses: list[object]
    log_reference: Float[np.ndarray, "prompts n"]
    scores: Scores
    gold: Float[np.ndarray, "prompts n"] | None
    members: list[str]

    @property
    def reference(self) -> Float[np.ndarray, "prompts n"]:
        """pi0."""
        return np.exp(self.log_reference)


def read_scores(path: str | Path, *, members: Sequence[str] = ()) -> ScoreTable:
    """Read CSV, Parquet or JSON lines (gzip too) with `score_table`'s columns.

    Raises `InputError` as `read_table` and `score_table`.
    """
    return score_table(read_table(path, argument="scores"), members=members)


def score_table(frame: pd.DataFrame, *, members: Sequence[str] = ()) -> ScoreTable:
    """Check a table with columns prompt, response, reference, member_*, and optionally gold, std_*.

    `members` names the score columns where they do not start with 'member'. Every prompt needs the
    same responses, each once; `reference` sums to 1 over the responses of a prompt.

    Raises `InputError` for missing columns (naming those found), duplicate or missing responses,
    scores that are not finite, and probabilities that are negative or do not sum to 1.

    >>> frame = pd.DataFrame({"prompt": [0, 0], "response": ["a", "b"], "reference": [0.5, 0.5],
    ...                       "member_0": [1.0, 2.0], "member_1": [0.0, 2.0]})
    >>> score_table(frame).scores.mean()
    array([[0.5, 2. ]])
    """
    columns = list(members) or [c for c in frame.columns if str(c).startswith(MEMBER_PREFIX)]
    missing = [c for c in (*REQUIRED, *columns) if c not in frame.columns]
    if missing or not columns:
        wanted = missing if columns else [*missing, *(f"{MEMBER_PREFIX}_{i}" for i in (0, 1))]
        raise InputError(
            "scores", f"a table with columns {', '.join(wanted)}{'' if columns else ' ...'}",
            f"columns {', '.join(map(str, frame.columns))}",
            f"rename them{_nearest(wanted, frame)}; --members names score columns that are called "
            "otherwise",
        )  # fmt: skip
    _check_rectangular(frame)
    ordered = frame.sort_values(list(KEYS), kind="stable")
    prompts = list(dict.fromkeys(ordered["prompt"]))
    shape = (len(prompts), len(ordered) // len(prompts))

    def cells(names: list[str]) -> np.ndarray:
        values = ordered[names].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
        for name, column in zip(names, values.T, strict=True):
            _check_numbers(name, column, ordered)
        return values.reshape(*shape, len(names))

    reference = cells(["reference"])[..., 0]
    _check_reference(reference, prompts)
    head_std = [c for c in frame.columns if str(c).startswith(STD_PREFIX)]
    with np.errstate(divide="ignore"):
        log_reference = np.log(reference / reference.sum(-1, keepdims=True))
    return ScoreTable(
        prompts=prompts,
        responses=list(ordered["response"][: shape[1]]),
        log_reference=log_reference,
        scores=Scores(cells(columns), head_std=cells(head_std) if head_std else None),
        gold=cells(["gold"])[..., 0] if "gold" in frame.columns else None,
        members=[str(c) for c in columns],
    )


def _nearest(wanted: Sequence[str], frame: pd.DataFrame) -> str:
    """Columns that may be meant."""
    there = {str(column).lower(): str(column) for column in frame.columns}
    pairs = [
        f"{there[near[0]]!r} to {name!r}"
        for name in wanted
        if (near := difflib.get_close_matches(name, there, n=1))
    ]
    return f" ({', '.join(pairs)}?)" if pairs else ""


def _check_numbers(name: str, column: np.ndarray, ordered: pd.DataFrame) -> None:
    bad = ~np.isfinite(column)
    if bad.any():
        (found, prompt, response), *_ = ordered.loc[bad, [name, *KEYS]].to_dict("split")["data"]
        raise InputError(
            f"scores[{name!r}]", "a finite number in every row",
            f"{found!r} for prompt {prompt!r}, response {response!r} "
            f"({int(bad.sum())} of {bad.size} rows)",
            "drop or rescore those rows",
        )  # fmt: skip


def _check_reference(reference: np.ndarray, prompts: Sequence[object]) -> None:
    sums = reference.sum(-1)
    worst = int(np.abs(sums - 1).argmax())
    if (reference >= 0).all() and abs(sums[worst] - 1) > checks.PROBABILITY_TOLERANCE:
        raise InputError(
            "scores['reference']", "probabilities that sum to 1 over the responses of each prompt",
            f"a sum of {sums[worst]:.6g} for prompt {prompts[worst]!r}",
            "divide by the sum; of log-probabilities take the exponential first",
        )  # fmt: skip
    checks.probabilities("scores['reference']", reference)


def _check_rectangular(frame: pd.DataFrame) -> None:
    if frame.empty:
        raise InputError("scores", "a table with rows", "an empty one")
    duplicated = frame.duplicated(list(KEYS))
    if duplicated.any():
        first = frame.loc[duplicated, list(KEYS)].iloc[0].tolist()
        raise InputError(
            "scores", "each response of a prompt once",
            f"{int(duplicated.sum())} duplicate rows, first prompt {first[0]!r} response "
            f"{first[1]!r}", "drop duplicates, or give each response its own label",
        )  # fmt: skip
    counts = frame.groupby("prompt", sort=False)["response"].agg(frozenset)
    everything = frozenset().union(*counts)
    lacking = counts[counts != everything]
    if len(lacking):
        prompt, given = lacking.index[0], lacking.iloc[0]
        absent = sorted(map(repr, everything - given))
        raise InputError(
            "scores", f"the same {len(everything)} responses for every prompt",
            f"{len(lacking)} prompts without some, first prompt {prompt!r} without "
            f"{', '.join(absent[:3])}",
            "number the responses of each prompt 0, 1, ...; give absent ones reference 0",
        )  # fmt: skip
