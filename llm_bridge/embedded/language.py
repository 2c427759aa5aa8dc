"""A small language with a computable reward: what a model can learn in seconds, and cheat on.

A prompt names a topic; a response is one to four clauses about it, `the NOUN is [very] ADJECTIVE`,
joined by `and` and ended by a full stop.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NOUNS = {
    "garden": ("rose", "lawn", "hedge", "pond"),
    "kitchen": ("oven", "spoon", "soup", "table"),
    "school": ("teacher", "lesson", "book", "desk"),
    "music": ("song", "drum", "choir", "violin"),
    "weather": ("cloud", "storm", "breeze", "sky"),
    "travel": ("train", "hotel", "map", "beach"),
}
"""Topics and the nouns that belong to them."""
TOPICS = tuple(NOUNS)
TOPIC_OF = {noun: topic for topic, nouns in NOUNS.items() for noun in nouns}
GOOD = ("bright", "kind", "fresh", "calm", "clear", "warm", "neat", "brave")
BAD = ("dull", "rude", "stale", "harsh", "vague", "grim", "messy", "weak")
WORDS = ("the", "is", "and", "very", ".", ":", *TOPICS, *TOPIC_OF, *GOOD, *BAD)
"""The whole vocabulary but for special tokens."""


@dataclass(frozen=True)
class Corpus:
    """How texts are written: shares of what a response contains.

    on_topic: nouns of the prompt's topic; good: good adjectives; very: intensified ones; repeats:
    clauses that may use a word again; clauses: the largest number of them, uniform from 1.
    """

    on_topic: float = 0.6
    good: float = 0.67
    very: float = 0.2
    repeats: float = 0.03
    clauses: int = 4

    def write(self, count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
        """Prompts and responses.

        >>> Corpus().write(1, np.random.default_rng(3))
        [('weather :', 'the rose is bright .')]
        """
        return [self._text(rng) for _ in range(count)]

    def _text(self, rng: np.random.Generator) -> tuple[str, str]:
        topic = TOPICS[rng.integers(len(TOPICS))]
        clauses: list[str] = []
        for _ in range(rng.integers(1, self.clauses + 1)):
            used = () if rng.random() < self.repeats else " ".join(clauses).split()
            clauses.append(self._clause(topic, used, rng))
        return prompt(topic), " and ".join(clauses) + " ."

    def _clause(self, topic: str, used: Sequence[str], rng: np.random.Generator) -> str:
        own = rng.random() < self.on_topic
        nouns = [noun for noun, home in TOPIC_OF.items() if (home == topic) == own]
        adjectives = GOOD if rng.random() < self.good else BAD
        noun, adjective = (
            rng.choice([word for word in words if word not in used])
            for words in (nouns, adjectives)
        )
        return f"the {noun} is {'very ' if rng.random() < self.very else ''}{adjective}"


@dataclass(frozen=True)
class Gold:
    """The true reward of a response: distinct good clauses on the topic, and no tricks.

    A clause on topic earns 1, off topic `off_topic`, negative with a bad adjective. A clause that
    repeats a noun or adjective of an earlier one, or is not grammatical, costs 1; so does a
    response without a full stop at its end; each word beyond `free_words` costs `per_word`.

    >>> gold = Gold()
    >>> gold("garden :", "the rose is bright and the oven is calm .")
    1.25
    >>> gold("garden :", "the rose is bright and the rose is kind and is is"), gold("garden :", "")
    (-2.0, -2.0)
    """

    off_topic: float = 0.25
    free_words: int = 24
    per_word: float = 0.1

    def __call__(self, prompt: str, response: str) -> float:
        """Reward of one response."""
        topic, words = prompt.split()[0], response.split()
        ended = words[-1:] == ["."]
        used: set[str] = set()
        reward = 0.0 if ended else -1.0
        for clause in _clauses(words[:-1] if ended else words):
            found = _parse(clause)
            if found is None or used & set(found):
                reward -= 1
                continue
            noun, adjective = found
            worth = 1.0 if TOPIC_OF[noun] == topic else self.off_topic
            reward += worth if adjective in GOOD else -worth
            used |= set(found)
        return reward - self.per_word * max(0, len(words) - self.free_words)

    def all(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """Rewards of many responses, (samples,)."""
        return np.array([self(p, r) for p, r in zip(prompts, responses, strict=True)])


def prompt(topic: str) -> str:
    """The prompt that asks for a topic."""
    return f"{topic} :"


def _clauses(words: Sequence[str]) -> list[list[str]]:
    """What stands between `and`s, empty clauses among it."""
    clauses: list[list[str]] = [[]]
    for word in words:
        if word == "and":
            clauses.append([])
        else:
            clauses[-1].append(word)
    return clauses


def _parse(clause: Sequence[str]) -> tuple[str, str] | None:
    """Noun and adjective of a grammatical clause."""
    match clause:
        case ["the", noun, "is", adjective] | ["the", noun, "is", "very", adjective]:
            if noun in TOPIC_OF and adjective in (*GOOD, *BAD):
                return noun, adjective
    return None
