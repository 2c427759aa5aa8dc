"""Which responses are compared, and who wins."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from bandits.streams import stream
from theory import cells, checks
from theory.errors import InputError, quoted
from theory.preferences import sample_preferences
from theory.tables import read_table

ANNOTATORS = {"expert": 0.0, "opposite": 0.065, "external": 0.23, "ai": 0.36}
"""Share of flipped labels by annotator [rewardrobust2024, App. A].

Disagreement with the paper's experts: the public's outright opposite judgements, the public's
where neither sees a tie (1 - 77%), and those of a language model (1 - 64%, on samples that were
chosen for being contested).
"""
COLUMNS = ("prompt", "chosen", "rejected")
LARGEST = 2**53
"""Below this, float64 tells whole numbers apart."""
OPPONENTS = ("best", "any")
TRIES = 20_000
"""Data sets that are drawn in search of one that covers every response."""


@dataclass(frozen=True)
class Preferences:
    """How comparisons come about.

    pairs:     comparisons of each prompt.
    opponents: 'best' compares each prompt's best response with that many others, drawn without
               replacement [rewardrobust2024, sec. 6]; 'any' compares two responses at random.
    noise:     share of labels that are flipped, or the name of one of `ANNOTATORS`.
    logistic:  the truly better response wins with probability sigma(gold difference)
               [bradley1952] instead of always.
    covered:   draw data sets until every response has lost somewhere: one that never lost may be
               overrated everywhere, which no ensemble sees.
    given:     (prompt, chosen, rejected) of every comparison, instead of drawing any.

    Raises `InputError` for an unknown name, pairs < 1 or noise outside of [0, 1].
    """

    pairs: int = 2
    opponents: str = "best"
    noise: float | str = 0.0
    logistic: bool = False
    covered: bool = False
    given: tuple[tuple[int, int, int], ...] | None = None

    def __post_init__(self) -> None:
        checks.positive("pairs", self.pairs)
        checks.one_of("opponents", self.opponents, OPPONENTS)
        if isinstance(self.noise, str):
            checks.one_of("noise", self.noise, ANNOTATORS)
        elif not 0 <= self.noise <= 1:
            raise InputError("noise", "a share in [0, 1], or an annotator", self.noise)

    @classmethod
    def read(cls, path: Path) -> "Preferences":
        """Read the columns prompt, chosen and rejected (numbers from 0) of a table.

        Raises `InputError` as `theory.tables.read_table`, and for what is no whole number.
        """
        table = read_table(path, argument="preferences")
        cells.require(table, COLUMNS, argument="preferences")
        whole = np.stack([cells.numbers(table[name]) for name in COLUMNS], axis=-1)
        bad = ~(np.isfinite(whole) & (np.abs(whole) < LARGEST) & (np.round(whole) == whole))
        if bad.any():
            row, column = map(int, np.argwhere(bad)[0])
            raise InputError(
                "preferences", "whole numbers",
                f"{quoted(table[COLUMNS[column]].iloc[row])} as {COLUMNS[column]!r} in "
                f"{cells.row_name(table, row)}",
            )  # fmt: skip
        return cls(given=tuple((int(x), int(a), int(b)) for x, a, b in whole))

    def check(self, prompts: int, responses: int) -> None:
        """Raise `InputError` unless a world of this size can be compared so; warn of gaps."""
        if self.given is not None:
            _check_given(np.array(self.given, int).reshape(-1, 3), prompts, responses)
        elif self.opponents == "best" and self.pairs >= responses:
            raise InputError("pairs", f"between 1 and {responses - 1}", self.pairs)
        elif self.covered and prompts * self.pairs < responses:
            raise InputError(
                "pairs", f"at least {-(-responses // prompts)} to cover {responses} responses",
                self.pairs,
            )  # fmt: skip

    def sample(
        self, gold: Float[np.ndarray, "prompts responses"], seeds: Sequence[int], copies: int = 1
    ) -> tuple[Int[np.ndarray, "seeds copies comparisons"], ...]:
        """Chosen and rejected cells of every seed, in `copies` independent data sets."""
        sets = [
            [self._data_set(gold, stream(seed, _purpose(copy))) for copy in range(copies)]
            for seed in seeds
        ]
        both = np.array(sets).transpose(2, 0, 1, 3)
        return both[0], both[1]

    def _data_set(self, gold: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Chosen and rejected cells of one data set, (2, comparisons)."""
        if self.given is not None:
            prompt, chosen, rejected = np.array(self.given, int).T
            return np.stack([prompt * gold.shape[1] + response for response in (chosen, rejected)])
        for _ in range(TRIES):
            prompt, first, second = self._pairs(gold, rng)
            chosen, rejected = self._labelled(gold, prompt, first, second, rng)
            if not self.covered or len(np.unique(rejected)) == gold.shape[1]:
                cells = prompt * gold.shape[1]
                return np.stack([cells + chosen, cells + rejected])
        raise InputError(
            "covered", f"possible within {TRIES} draws", f"{self.pairs} pairs a prompt",
            "compare more pairs",
        )  # fmt: skip

    def _pairs(self, gold: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Prompts and the two responses of every comparison."""
        prompts, responses = gold.shape
        prompt = np.repeat(np.arange(prompts), self.pairs)
        if self.opponents == "best":
            best = gold.argmax(-1)
            ranks = rng.random((prompts, responses))
            ranks[np.arange(prompts), best] = np.inf
            return prompt, best[prompt], ranks.argsort(-1)[:, : self.pairs].ravel()
        first = rng.integers(responses, size=prompt.size)
        return prompt, first, (first + rng.integers(1, responses, size=prompt.size)) % responses

    def _labelled(
        self,
        gold: np.ndarray,
        prompt: np.ndarray,
        first: np.ndarray,
        second: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Winners and losers; ties are decided by a coin."""
        here, there = gold[prompt, first], gold[prompt, second]
        if self.logistic:
            wins = sample_preferences(here, there, rng=rng)
        else:
            wins = np.where(here == there, rng.random(prompt.size) < 0.5, here > there)
        noise = ANNOTATORS[self.noise] if isinstance(self.noise, str) else self.noise
        wins ^= rng.random(prompt.size) < noise
        return np.where(wins, first, second), np.where(wins, second, first)


def _purpose(copy: int) -> str:
    return "comparisons" if copy == 0 else f"comparisons {copy}"


def _check_given(given: np.ndarray, prompts: int, responses: int) -> None:
    if not len(given):
        raise InputError("preferences", "at least one comparison", "none")
    limits = np.array([prompts, responses, responses])
    outside = ((given < 0) | (given >= limits)).any(-1)
    if outside.any():
        row = int(outside.argmax())
        raise InputError(
            "preferences", f"prompts below {prompts} and responses below {responses}",
            f"{tuple(given[row].tolist())} in comparison {row}", "enlarge the world",
        )  # fmt: skip
    same = given[:, 1] == given[:, 2]
    if same.any():
        row = int(same.argmax())
        raise InputError(
            "preferences", "two different responses",
            f"{tuple(given[row].tolist())} in comparison {row}",
        )  # fmt: skip
    cells = given[:, :1] * responses + given[:, 1:]
    never = prompts * responses - len(np.unique(cells))
    if never:
        warnings.warn(
            f"{never} of {prompts * responses} responses are never compared: their scores are "
            "what initialisation left",
            stacklevel=2,
        )
