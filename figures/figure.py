"""What a figure is: numbers first, then a drawing of nothing but those numbers."""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from theory import checks
from theory.errors import InputError

SCALES = ("toy", "tiny", "full")
SLOW = 300.0
"""Expected seconds above which a figure is drawn only where slow ones are asked for."""
PREDICATES = {
    "reproduces": "reproduces it",
    "in part": "reproduces it in part",
    "differs": "does not reproduce it",
    "cannot be checked here": "cannot check it",
}
VERDICTS = tuple(PREDICATES)


@dataclass(frozen=True)
class Setting:
    """How a figure is computed: its scale, the seed, worker processes, and how many seeds.

    full_seeds: as many seeds as a study is ever given, whatever the scale.

    Raises `InputError` for an unknown scale, seed < 0 or workers < 1.
    """

    scale: str = "toy"
    seed: int = 0
    workers: int = 1
    full_seeds: bool = False

    def __post_init__(self) -> None:
        checks.one_of("scale", self.scale, SCALES)
        checks.positive("seed", self.seed, zero_allowed=True)
        checks.positive("workers", self.workers)

    def rng(self, key: str) -> np.random.Generator:
        """A stream of one figure's own: it does not depend on which others are drawn."""
        return np.random.default_rng([self.seed, zlib.crc32(key.encode())])

    def count(self, counts: Mapping[str, int]) -> int:
        """How many seeds, of a study's numbers by scale: the most of them with `full_seeds`.

        >>> [Setting(full_seeds=wide).count({"toy": 4, "tiny": 64}) for wide in (False, True)]
        [4, 64]
        """
        return max(counts.values()) if self.full_seeds else counts[self.scale]


@dataclass(frozen=True)
class Finding:
    """A claim of a paper, in our words, and what became of it here.

    verdict: 'reproduces', 'differs', 'in part', or 'cannot be checked here'.
    """

    claim: str
    measured: str
    verdict: str

    def __post_init__(self) -> None:
        checks.one_of("verdict", self.verdict, VERDICTS)

    def __str__(self) -> str:
        return f"Claim: {self.claim} Measured: {self.measured} This {PREDICATES[self.verdict]}."


def verdict(holds: Iterable[bool]) -> str:
    """'reproduces' where all parts of a claim hold, 'in part' where some do, else 'differs'.

    >>> verdict([True, False])
    'in part'
    """
    held = list(holds)
    if not held:
        raise InputError("holds", "at least one part of a claim", held)
    return "reproduces" if all(held) else "in part" if any(held) else "differs"


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure of a paper, or of ours.

    key:     `paper.name`, as in `banerjee2024.fig3`.
    number:  where it stands in the paper ('' where it goes beyond it).
    seconds: expected time at each scale that it can be computed at, on two cores.
    size:    width and height in inches; column width is 3.25, text width 6.75.
    compute: setting to one tidy table. It is written to disk and read again before it is drawn.
    draw:    table to axes on an empty canvas; computes nothing.
    caption: what is shown, over how many draws, and what every band is.
    findings: the paper's claims against the numbers of the table.
    """

    key: str
    number: str
    title: str
    seconds: Mapping[str, float]
    size: tuple[float, float]
    compute: Callable[[Setting], pd.DataFrame]
    draw: Callable[[pd.DataFrame, Canvas], None]
    caption: Callable[[pd.DataFrame], str]
    findings: Callable[[pd.DataFrame], list[Finding]] = lambda _: []

    @property
    def paper(self) -> str:
        """Citation key, or 'beyond'."""
        return self.key.split(".")[0]

    def reached(self, scale: str) -> str | None:
        """The asked scale, or the nearest smaller one that it has, or else its smallest.

        None where that is 'full', which needs GPUs and is not entered unasked.
        """
        wanted = SCALES.index(scale)
        below = [s for s in SCALES[: wanted + 1] if s in self.seconds]
        return below[-1] if below else next((s for s in SCALES[:-1] if s in self.seconds), None)

    def expected(self, scale: str) -> float:
        """Seconds at the scale that is reached; 0 where none is."""
        return self.seconds.get(self.reached(scale) or "", 0.0)

    def slow(self, scale: str) -> bool:
        """Whether it takes so long at the scale that is reached that it is drawn on request."""
        return self.expected(scale) > SLOW
