"""A published claim as data, with the computation that settles it."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from theory import checks
from theory.errors import InputError
from theory.intervals import Interval

Verdict = Literal["true", "true if", "false"]
"""'true if': it holds under conditions that its statement leaves out."""
FEWEST, MOST = 100, 10**8
"""Draws below which there are no intervals to speak of, and above which there is no memory."""


class Evidence(NamedTuple):
    """One number that bears on a claim.

    `observed` was computed without the formulas in question (simulation, quadrature, a convex
    solver, enumeration); `interval` bounds it where it was sampled. `printed` and `corrected`
    are what the two statements say it is, None where a statement is silent.
    """

    quantity: str
    observed: float
    printed: float | None = None
    corrected: float | None = None
    interval: Interval | None = None


class Finding(NamedTuple):
    """What a check found: whether each statement survived, and the numbers."""

    printed_holds: bool
    corrected_holds: bool
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Trial:
    """How hard to try: Monte Carlo draws, the seed, and worker processes.

    Raises `InputError` for too few draws for an interval, a negative seed, or no worker.
    """

    draws: int = 200_000
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if not FEWEST <= self.draws <= MOST:
            raise InputError(
                "draws", f"{FEWEST} to {MOST:,}", self.draws, "take 200,000, the default"
            )
        checks.positive("seed", self.seed, zero_allowed=True)
        checks.positive("workers", self.workers)

    def rng(self, key: str) -> np.random.Generator:
        """A stream of one claim's own: results do not depend on which others run beside it."""
        return np.random.default_rng([self.seed, zlib.crc32(key.encode())])


@dataclass(frozen=True)
class Claim:
    """A numbered statement of a paper.

    paper:     key of `theory.references.REFERENCES`.
    number:    where it stands there.
    statement: the claim as printed, in our words.
    verdict:   of the statement as printed.
    corrected: what holds instead ('' where nothing needs correction).
    check:     computes both statements on instances and compares them.
    """

    key: str
    paper: str
    number: str
    statement: str
    verdict: Verdict
    corrected: str
    check: Callable[[Trial], Finding]

    def confirmed(self, finding: Finding) -> bool:
        """Whether the numbers say what the verdict says, and the corrected statement survived."""
        return finding.corrected_holds and finding.printed_holds == (self.verdict == "true")


def claim(
    paper: str, number: str, *, statement: str, verdict: Verdict, corrected: str = ""
) -> Callable[[Callable[[Trial], Finding]], Claim]:
    """Turn a check into a `Claim` that carries the name of the function."""

    def decorate(check: Callable[[Trial], Finding]) -> Claim:
        return Claim(check.__name__, paper, number, statement, verdict, corrected, check)

    return decorate
