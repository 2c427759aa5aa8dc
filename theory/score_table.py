"""Scores from a file: one row for each response of each prompt."""

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
    return score_table(read_table(path), members=members)


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
        wanted = missing or [f"{MEMBER_PREFIX}_0, {MEMBER_PREFIX}_1, ..."]
        raise InputError(
            "scores", f"a table with columns {', '.join(map(str, wanted))}",
            f"columns {', '.join(map(str, frame.columns))}",
            "rename them, or name the score columns with --members",
        )  # fmt: skip
    _check_rectangular(frame)
    ordered = frame.sort_values(list(KEYS), kind="stable")
    prompts = list(dict.fromkeys(ordered["prompt"]))
    shape = (len(prompts), len(ordered) // len(prompts))

    def cells(names: list[str]) -> np.ndarray:
        values = ordered[names].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
        for name, column in zip(names, values.T, strict=True):
            checks.finite(f"scores[{name!r}]", column.reshape(shape))
        return values.reshape(*shape, len(names))

    reference = cells(["reference"])[..., 0]
    checks.probabilities("scores['reference']", reference)
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
