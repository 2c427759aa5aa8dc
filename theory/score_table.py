"""Scores from a file: one row for each response of each prompt."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from theory import cells, checks
from theory.errors import InputError, quoted
from theory.scores import Scores
from theory.tables import read_table

KEYS = ("prompt", "response")
REQUIRED = (*KEYS, "reference")
MEMBER, STD = "member", "std"
GOLD = "gold"
_NUMBER = r"_(0|[1-9][0-9]*)"
_WHOLE = re.compile(r"-?[0-9]{1,18}")
SHOWN = 3
"""Responses that a message lists."""


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Rectangular scores of `prompts` x `responses`.

    prompts, responses: their texts, in the order of the numbers that they are, else of texts.
    log_reference: (prompts, n) ln pi0, -inf where the reference never answers so.
    scores:        members (prompts, n, k), as read (`centred` them before comparing members).
    gold:          (prompts, n) true rewards, or None.
    members:       names of the score columns.
    """

    prompts: list[str]
    responses: list[str]
    log_reference: Float[np.ndarray, "prompts n"]
    scores: Scores
    gold: Float[np.ndarray, "prompts n"] | None
    members: list[str]

    @property
    def reference(self) -> Float[np.ndarray, "prompts n"]:
        """pi0."""
        return np.exp(self.log_reference)


def read_scores(path: str | Path, *, members: Sequence[str] = ()) -> ScoreTable:
    """Read CSV, JSON, JSON lines or Parquet (gzip too) with `score_table`'s columns.

    Raises `InputError` as `read_table` and `score_table`.
    """
    return score_table(read_table(path, argument="scores"), members=members)


def score_table(frame: pd.DataFrame, *, members: Sequence[str] = ()) -> ScoreTable:
    """Check a table with columns prompt, response, reference, member_0, ... and maybe gold, std_0.

    Members are the columns `member_<number>`, in the order of their numbers, or those that
    `members` names, in its order; std_<number> belongs to the member of that number, or at that
    place of `members`. Nothing else is read; a warning names columns that only begin as members do.
    Every prompt needs the same responses, each once; `reference` sums to 1 over the responses of a
    prompt. Prompts and responses are texts, whatever they look like, and not empty.

    Raises `InputError` for missing columns (naming those found), duplicate or missing responses,
    scores that are not finite, and probabilities that are negative or do not sum to 1.

    >>> frame = pd.DataFrame({"prompt": [0, 0], "response": ["a", "b"], "reference": [0.5, 0.5],
    ...                       "member_0": [1.0, 2.0], "member_1": [0.0, 2.0]})
    >>> score_table(frame).scores.mean()
    array([[0.5, 2. ]])
    """
    columns = list(members) or _numbered(MEMBER, frame)
    if len(set(columns)) < len(columns):
        raise InputError("members", "different columns", ", ".join(columns))
    cells.require(
        frame, [*REQUIRED, *(columns or [f"{MEMBER}_0", f"{MEMBER}_1"])], argument="scores",
        more="" if columns else " ...",
        hint="--members names score columns that are called otherwise",
    )  # fmt: skip
    spreads = _spreads(frame, columns)
    if not members:
        _tell_ignored(frame, [*columns, *spreads])
    if frame.empty:
        raise InputError("scores", "a table with rows", f"an empty one{cells.of_file(frame)}")
    rows, prompts, responses = _rectangle(frame)

    def values(names: list[str]) -> np.ndarray:
        return np.stack([_finite(name, frame)[rows] for name in names], axis=-1)

    reference = values(["reference"])[..., 0]
    _check_reference(reference, prompts)
    with np.errstate(divide="ignore"):
        log_reference = np.log(reference / reference.sum(-1, keepdims=True))
    return ScoreTable(
        prompts=prompts,
        responses=responses,
        log_reference=log_reference,
        scores=Scores(values(columns), head_std=values(spreads) if spreads else None),
        gold=values([GOLD])[..., 0] if GOLD in frame else None,
        members=columns,
    )


def _numbered(stem: str, frame: pd.DataFrame) -> list[str]:
    """Columns `stem_<number>`, by their numbers."""
    found = [str(c) for c in frame.columns if re.fullmatch(stem + _NUMBER, str(c))]
    return sorted(found, key=lambda name: int(name.rpartition("_")[2]))


def _spreads(frame: pd.DataFrame, members: Sequence[str]) -> list[str]:
    """The column of standard deviations of every member; none where the table has none."""
    if not _numbered(STD, frame):
        return []
    numbered = [re.fullmatch(MEMBER + _NUMBER, name) for name in members]
    places = [match[1] if all(numbered) and match else i for i, match in enumerate(numbered)]
    names = [f"{STD}_{place}" for place in places]
    cells.require(frame, names, argument="scores", hint="one for every member, or none")
    return names


def _tell_ignored(frame: pd.DataFrame, used: Sequence[str]) -> None:
    """Warn of columns that may have been meant to be read: by another case, or with blanks."""
    read = {*KEYS, "reference", GOLD}
    plain = {column: str(column).strip().lower() for column in frame.columns}
    ignored = [
        column
        for column, name in plain.items()
        if (name.startswith((MEMBER, STD)) and str(column) not in used)
        or (name in read and str(column) not in read)
    ]
    if ignored:
        warnings.warn(
            f"columns that are not read: {cells.listed(ignored)}; members are called "
            f"{MEMBER}_0, {MEMBER}_1, ..., or named by --members, and case and blanks count",
            stacklevel=4,
        )


def _rectangle(
    frame: pd.DataFrame,
) -> tuple[Int[np.ndarray, "prompts n"], list[str], list[str]]:
    """Places of the rows of every prompt and response, and the names of both in order."""
    keys = [cells.labels(frame, name, argument="scores") for name in KEYS]
    prompts, responses = (_ordered(labels) for labels in keys)
    where = [
        np.array([index[label] for label in labels])
        for labels, index in zip(
            keys, ({n: i for i, n in enumerate(names)} for names in (prompts, responses)),
            strict=True,
        )
    ]  # fmt: skip
    n = len(responses)
    cell = where[0] * n + where[1]
    order = np.argsort(cell, kind="stable")
    again = order[1:][cell[order][1:] == cell[order][:-1]]
    if again.size:
        first = int(again.min())
        raise InputError(
            "scores", "each response of a prompt once",
            f"{again.size} duplicate rows, first prompt {quoted(keys[0][first])} response "
            f"{quoted(keys[1][first])} in {cells.row_name(frame, first)}",
            "drop duplicates, or give each response its own label",
        )  # fmt: skip
    counts = np.bincount(where[0], minlength=len(prompts))
    lacking = np.flatnonzero(counts < n)
    if lacking.size:
        first = int(lacking[0])
        given = {responses[i] for i in where[1][where[0] == first]}
        absent = [quoted(name) for name in responses if name not in given]
        told = ", ".join(absent[:SHOWN]) + (" ..." if absent[SHOWN:] else "")
        raise InputError(
            "scores", f"the same {n} responses for every prompt",
            f"{lacking.size} prompts without some, first prompt {quoted(prompts[first])} without "
            f"{told}",
            "number the responses of each prompt 0, 1, ...; give absent ones reference 0, and the "
            "scores of another response of the prompt",
        )  # fmt: skip
    return order.reshape(len(prompts), n), prompts, responses


def _ordered(labels: Sequence[str]) -> list[str]:
    """Different labels, by number where all are whole numbers, else as texts."""
    names = set(labels)
    if all(_WHOLE.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def _finite(name: str, frame: pd.DataFrame) -> Float[np.ndarray, " rows"]:
    """A column of numbers; `InputError` with the first row where there is none."""
    found = cells.numbers(frame[name])
    bad = np.flatnonzero(~np.isfinite(found))
    if bad.size:
        first = int(bad[0])
        value, prompt, response = (frame[c].iloc[first] for c in (name, *KEYS))
        raise InputError(
            f"scores[{name!r}]", "a finite number in every row",
            f"{quoted(value)} for prompt {quoted(prompt)}, response {quoted(response)}, in "
            f"{cells.row_name(frame, first)} ({bad.size} of {len(found)} rows)",
            "drop or rescore those rows",
        )  # fmt: skip
    return found


def _check_reference(reference: np.ndarray, prompts: Sequence[str]) -> None:
    sums = reference.sum(-1)
    worst = int(np.abs(sums - 1).argmax())
    if (reference >= 0).all() and abs(sums[worst] - 1) > checks.PROBABILITY_TOLERANCE:
        raise InputError(
            "scores['reference']", "probabilities that sum to 1 over the responses of each prompt",
            f"a sum of {sums[worst]:.6g} for prompt {quoted(prompts[worst])}",
            "divide by the sum; of log-probabilities take the exponential first",
        )  # fmt: skip
    checks.probabilities("scores['reference']", reference)
