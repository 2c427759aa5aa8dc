"""Preference data: two responses of a policy to a prompt, and which of them is better."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from llm_bridge.lm.sampling import Sampling, draw
from theory import checks
from theory.errors import InputError
from theory.preferences import sample_preferences

Judge = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""Prompts and responses to rewards, (samples,)."""


@dataclass(frozen=True)
class Pairs:
    """Comparisons: a prompt, the response that won, and the one that lost."""

    prompts: tuple[str, ...]
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, rows: Iterable[int]) -> "Pairs":
        texts = ([side[row] for row in rows] for side in (self.prompts, self.chosen, self.rejected))
        return Pairs(*map(tuple, texts))

    def flipped(self, share: float, *, rng: np.random.Generator) -> "Pairs":
        """With the labels of a random share of them turned round."""
        turned = rng.random(len(self)) < share
        both = zip(self.chosen, self.rejected, turned, strict=True)
        sides = [(lost, won) if turn else (won, lost) for won, lost, turn in both]
        return Pairs(self.prompts, *map(tuple, zip(*sides, strict=True)))


@dataclass(frozen=True)
class Labelling:
    """A Bradley-Terry annotator: P(first wins) = sigma(difference / temperature), some flipped."""

    pairs: int = 1000
    """Comparisons."""
    temperature: float = 0.5
    """Difference in true reward that is preferred with odds of e to 1."""
    noise: float = 0.0
    """Share of the labels that are flipped."""

    def __post_init__(self) -> None:
        checks.positive("pairs", self.pairs)
        checks.positive("temperature", self.temperature)
        if not 0 <= self.noise < 0.5:
            raise InputError("noise", "in [0, 1/2)", self.noise)


def respond(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    sampling: Sampling,
    *,
    limit: int,
    generator: torch.Generator,
    batch: int = 256,
) -> list[str]:
    """One sampled response a prompt, as text; limit: tokens of prompt and response together."""
    texts: list[str] = []
    for start in range(0, len(prompts), batch):
        drawn = draw(
            model, tokenizer, prompts[start : start + batch], sampling,
            limit=limit, generator=generator,
        )  # fmt: skip
        texts += decode(tokenizer, drawn.responses)
    return texts


def decode(tokenizer: Any, tokens: torch.Tensor) -> list[str]:
    """Texts without special tokens."""
    return list(tokenizer.batch_decode(tokens, skip_special_tokens=True))


def sample_pairs(
    first: Sequence[str],
    second: Sequence[str],
    prompts: Sequence[str],
    judge: Judge,
    labelling: Labelling,
    *,
    rng: np.random.Generator,
) -> Pairs:
    """Label pairs of responses by a judge."""
    rewards = [judge(prompts, texts) / labelling.temperature for texts in (first, second)]
    wins = sample_preferences(*rewards, rng=rng, noise=labelling.noise)
    both = [(a, b) if won else (b, a) for a, b, won in zip(first, second, wins, strict=True)]
    chosen, rejected = zip(*both, strict=True)
    return Pairs(tuple(prompts), chosen, rejected)
