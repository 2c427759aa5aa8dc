"""Preference data: two responses of a policy to a prompt, and which of them is better."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from llm_bridge.lm.sampling import Sampling, draw
from llm_bridge.lm.tokens import Batch
from theory import checks
from theory.errors import InputError
from theory.preferences import sample_preferences
from theory.returned import numbers

Judge = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""Prompts and responses to rewards, (samples,)."""


@dataclass(frozen=True)
class Checked:
    """A judge that raises `InputError` unless it gives one number a response.

    argument: what messages call it. finite: refuse NaN and infinite numbers, too.
    """

    judge: Judge
    argument: str = "judge"
    finite: bool = True

    def __call__(
        self, prompts: Sequence[str], responses: Sequence[str]
    ) -> Float[np.ndarray, " samples"]:
        """Its numbers, as float64."""
        found, size = self.judge(prompts, responses), len(responses)
        return numbers(self.argument, self.judge, found, size, finite=self.finite)


RESPOND_BATCH = 256
"""Most responses that are drawn at once."""
GROUPS = 10
"""Prompts from which on comparisons are split by prompt."""


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

    def split(self, share: float, *, rng: np.random.Generator) -> tuple["Pairs", "Pairs"]:
        """All but a share of the groups, and the rest; equal pairs and equal prompts stay together.

        Groups are prompts where there are `GROUPS` of them, else pairs. Raises `InputError` for
        comparisons that are all of one group.
        """
        keys: list[Any] = list(self.prompts)
        if len(set(keys)) < GROUPS:
            keys = list(zip(self.prompts, self.chosen, self.rejected, strict=True))
        groups = list(dict.fromkeys(keys))
        if len(groups) < 2:
            raise InputError("pairs", "at least two different ones", f"{len(self)} alike")
        order = rng.permutation(len(groups)).tolist()
        apart = {groups[place] for place in order[: max(1, round(share * len(groups)))]}
        sides: tuple[list[int], list[int]] = [], []
        for row, key in enumerate(keys):
            sides[key in apart].append(row)
        return self[sides[0]], self[sides[1]]

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
) -> list[str]:
    """One sampled response a prompt, as text; limit: tokens of prompt and response together."""
    texts: list[str] = []
    for start in range(0, len(prompts), RESPOND_BATCH):
        some = prompts[start : start + RESPOND_BATCH]
        uniforms = sampling.uniforms(len(some), generator)
        drawn = draw(model, tokenizer, some, sampling, limit=limit, uniforms=uniforms)
        texts += decode(tokenizer, drawn)
    return texts


def decode(tokenizer: Any, batch: Batch) -> list[str]:
    """Responses as text without special tokens: what follows the prompt, the first space included.

    Prompt + response is thus the text that was written, whether a prompt ends with a word or inside
    one; `llm_bridge.lm.tokens.encode` reads it back.
    """
    prompts, texts = (
        tokenizer.batch_decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        for tokens in (batch.prompts, batch.tokens)
    )  # fmt: skip
    return [text[len(prompt) :] for prompt, text in zip(prompts, texts, strict=True)]


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
    judge = Checked(judge)
    rewards = [judge(prompts, texts) / labelling.temperature for texts in (first, second)]
    wins = sample_preferences(*rewards, rng=rng, noise=labelling.noise)
    both = [(a, b) if won else (b, a) for a, b, won in zip(first, second, wins, strict=True)]
    chosen, rejected = zip(*both, strict=True)
    return Pairs(tuple(prompts), chosen, rejected)
