"""Experts who grade responses from 1 (worst) to 5 (best), and how far two agree [ugda2025, 4.3]."""

import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from theory import cells, checks
from theory.errors import InputError, quoted
from theory.returned import name_of, numbers
from theory.tables import read_table

GRADES = 5
KEYS = ("prompt", "response")
MISSING = 0
"""A response without a grade: nobody gave one, or the answer could not be read."""


@runtime_checkable
class Expert(Protocol):
    """Anything that grades responses: a reward, a person's file, a language model that is asked."""

    def __call__(
        self, prompts: Collection[Any], responses: Collection[Any]
    ) -> Int[np.ndarray, " samples"]:
        """Grades 1..5, or `MISSING`: what cannot be read is counted, never guessed."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """A reward on an absolute scale."""

    def __call__(
        self, prompts: Collection[Any], responses: Collection[Any]
    ) -> Float[np.ndarray, " samples"]:
        """One score a response; NaN where there is none."""
        ...


@dataclass(frozen=True)
class ScoreExpert:
    """A reward as an expert: grade 1 + the number of `edges` below or at the score.

    The edges are fixed beforehand (`quantile_edges`), so that a grade means the same whichever
    responses are shown beside it. A score of NaN has no grade. Raises `InputError` unless the edges
    are finite and ascend.
    """

    score: Scorer
    edges: tuple[float, ...]

    def __post_init__(self) -> None:
        checks.finite("edges", np.array(self.edges))
        if len(self.edges) != GRADES - 1 or list(self.edges) != sorted(self.edges):
            raise InputError("edges", f"{GRADES - 1} numbers that ascend", self.edges)

    def __call__(
        self, prompts: Collection[Any], responses: Collection[Any]
    ) -> Int[np.ndarray, " samples"]:
        """See `Expert`."""
        found = self.score(prompts, responses)
        scores = numbers("score", self.score, found, len(responses), finite=False)
        grades = np.searchsorted(self.edges, scores, side="right") + 1
        return np.where(np.isnan(scores), MISSING, grades)


def graded(
    expert: Expert, prompts: Collection[Any], responses: Collection[Any]
) -> Int[np.ndarray, " samples"]:
    """What an expert says. Raises `InputError` unless it is 1..5 or `MISSING`, one a response."""
    found = numbers("expert", expert, expert(prompts, responses), len(responses))
    strange = found[~np.isin(found, range(GRADES + 1))]
    if strange.size:
        said = f"{strange[0]:g} from {name_of(expert)}"
        raise InputError("expert", f"one whose grades are 1..{GRADES} or {MISSING}", said)
    return found.astype(int)


def quantile_edges(scores: Float[np.ndarray, "*reference"]) -> tuple[float, ...]:
    """Edges at 20, 40, 60 and 80% of reference scores: there, each grade is given equally often.

    >>> quantile_edges(np.arange(11.0))
    (2.0, 4.0, 6.0, 8.0)
    """
    checks.finite("scores", scores)
    levels = np.arange(1, GRADES) / GRADES
    return tuple(np.quantile(scores, levels).tolist())


@dataclass(frozen=True)
class NoisyExpert:
    """An expert who errs: with probability `error` one of the four other grades, all alike.

    Errors belong to (seed, prompt, response): who is asked twice answers the same. Raises
    `InputError` unless 0 <= error <= 1.
    """

    expert: Expert
    error: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.error <= 1:
            raise InputError("error", "a probability", self.error)

    def __call__(
        self, prompts: Collection[Any], responses: Collection[Any]
    ) -> Int[np.ndarray, " samples"]:
        """See `Expert`."""
        grades = graded(self.expert, prompts, responses)
        moved = [self._moved(p, r) for p, r in zip(prompts, responses, strict=True)]
        wrong = (grades - 1 + np.array(moved, int)) % GRADES + 1
        return np.where(grades == MISSING, MISSING, wrong)

    def _moved(self, prompt: Any, response: Any) -> int:
        """How many grades up, round the corner; 0 where the expert does not err."""
        rng = np.random.default_rng([self.seed, zlib.crc32(f"{prompt}\0{response}".encode())])
        return int(rng.integers(1, GRADES)) if rng.random() < self.error else 0


@dataclass(frozen=True)
class FileExpert:
    """Grades that were given beforehand; what is not among them is missing."""

    grades: dict[tuple[str, str], int]

    @classmethod
    def read(cls, path: Path) -> "FileExpert":
        """Read a table with columns prompt, response and grade (an empty one is missing).

        Texts are taken as they stand; an empty cell is the empty text. Raises `InputError` for
        other columns, grades outside of 1..5, and for a response that has two different ones.
        """
        table = read_table(path, argument="expert")
        cells.require(table, (*KEYS, "grade"), argument="expert")
        found: dict[tuple[str, str], int] = {}
        keys = zip(
            *(cells.labels(table, name, argument="expert", empty=True) for name in KEYS),
            strict=True,
        )
        for place, (key, told) in enumerate(zip(keys, table.grade, strict=True)):
            if cells.text(told) == "":
                continue
            grade = cells.number(told)
            if grade not in range(1, GRADES + 1):
                raise InputError(
                    "grade", f"a whole number 1..{GRADES}",
                    f"{quoted(told)} in {cells.row_name(table, place)}",
                )  # fmt: skip
            if found.setdefault(key, int(grade)) != grade:
                raise InputError(
                    "grade", "one for a response",
                    f"two for {', '.join(map(quoted, key))}, the second in "
                    f"{cells.row_name(table, place)}",
                )  # fmt: skip
        return cls(found)

    def __call__(
        self, prompts: Collection[Any], responses: Collection[Any]
    ) -> Int[np.ndarray, " samples"]:
        """See `Expert`."""
        keys = [(str(p), str(r)) for p, r in zip(prompts, responses, strict=True)]
        return np.array([self.grades.get(key, MISSING) for key in keys], int)


def agreement(
    first: Int[np.ndarray, " samples"], second: Int[np.ndarray, " samples"]
) -> pd.DataFrame:
    """How two experts graded the same responses, by grade [ugda2025, Table 1].

    Columns: grade; `first` and `second`, the shares of responses that each gave it; `similarity`,
    of those to which the second gave it, the share to which the first did too (NaN for none);
    `samples`, how many both graded. Responses that either left out do not count.

    >>> table = agreement(np.array([1, 2, 5, 0]), np.array([1, 1, 5, 5]))
    >>> table.similarity.tolist()[:2], int(table.samples[0])
    ([0.5, nan], 3)
    """
    both = (first != MISSING) & (second != MISSING)
    one, other = first[both], second[both]
    rows = []
    for grade in range(1, GRADES + 1):
        there = other == grade
        rows.append(
            {"grade": grade, "first": np.mean(one == grade) if one.size else np.nan,
             "second": np.mean(there) if one.size else np.nan,
             "similarity": np.mean(one[there] == grade) if there.any() else np.nan,
             "samples": int(both.sum())}
        )  # fmt: skip
    return pd.DataFrame(rows)
