"""A true reward that any English text has, computed from its words: kind ones, without repeats."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

WORDS = """
beautiful best brave bright calm care caring charming cheerful clever delight delightful enjoy
enjoyed excellent fantastic friend friends fun funny gentle glad good great happy help helped hug
joy kind laugh laughed love loved lovely nice peaceful perfect play played pretty proud safe share
shared smile smiled sweet thank thanked warm wonderful
"""
KIND = frozenset(WORDS.split())


@dataclass(frozen=True)
class Kindness:
    """`worth` for each different kind word up to `most`, less `per_repeat` a repetition.

    Repetition is the share of pairs of neighbouring words that came before in the text.
    A stand-in for a judge where there is none: cheap, exact, and easy to over-optimise for.

    >>> Kindness().all(["Once"], ["she was happy and kind ."])
    array([1.])
    """

    worth: float = 0.5
    most: int = 4
    per_repeat: float = 3.0

    def __call__(self, response: str) -> float:
        """Reward of one response."""
        words = re.findall(r"[a-z']+", response.lower())
        pairs = list(pairwise(words))
        repeated = 1 - len(set(pairs)) / len(pairs) if pairs else 0.0
        return self.worth * min(self.most, len(KIND & set(words))) - self.per_repeat * repeated

    def all(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """Rewards of many responses, (samples,); prompts play no role."""
        return np.array([self(response) for response in responses])
