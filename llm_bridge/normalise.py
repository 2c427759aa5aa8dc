"""Scores made comparable: every member centred on each prompt by responses of the reference."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int

from theory.errors import InputError
from theory.scores import Scores

SMALLEST = 8
"""Reference responses of a prompt below which its mean is too rough to be subtracted."""
Scorer = Callable[[Sequence[str], Sequence[str]], Float[torch.Tensor, "samples k"]]
"""Prompts and responses to raw scores of every member."""


@dataclass(frozen=True, eq=False)
class Normaliser:
    """r_i(x, y) - mean of r_i(x, .) over reference responses, divided by the spread of member i.

    Bradley-Terry scores are free up to a constant a prompt and member, and members may differ in
    scale. table: normalised scores of the reference responses, (prompts, responses, k), which also
    stand for the reference where an objective needs a mean over it.
    """

    score: Scorer
    index: Mapping[str, int]
    offset: Float[torch.Tensor, "prompts k"]
    scale: Float[torch.Tensor, "k"]
    table: Scores

    @classmethod
    def fit(
        cls, score: Scorer, references: Mapping[str, Sequence[str]], *, rescale: bool = True
    ) -> "Normaliser":
        """From m >= 8 reference responses of every prompt, the same m for all.

        Raises `InputError` for fewer, or numbers that differ.
        """
        sizes = {len(texts) for texts in references.values()}
        if len(sizes) != 1 or min(sizes) < SMALLEST:
            raise InputError(
                "references", f"at least {SMALLEST} for each prompt, as many for all",
                sorted(sizes),
            )  # fmt: skip
        prompts = [prompt for prompt, texts in references.items() for _ in texts]
        flat = score(prompts, [text for texts in references.values() for text in texts])
        raw = flat.view(len(references), sizes.pop(), -1)
        offset = raw.mean(1)
        centred = raw - offset[:, None]
        scale = torch.ones_like(centred[0, 0])
        if rescale:
            spread = centred.square().mean((0, 1)).sqrt()
            scale = torch.where(spread > 0, spread, scale)
        index = {prompt: place for place, prompt in enumerate(references)}
        return cls(score, index, offset, scale, Scores(centred / scale))

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Normalised scores, (samples, k)."""
        raw = self.score(prompts, responses)
        return Scores((raw - self.offset[self.places(prompts)]) / self.scale)

    def places(self, prompts: Sequence[str]) -> Int[torch.Tensor, "samples"]:
        """Rows of the prompts in `table`; `InputError` for one without reference responses."""
        unknown = next((prompt for prompt in prompts if prompt not in self.index), None)
        if unknown is not None:
            raise InputError("prompts", "some that reference responses were drawn for", unknown)
        return torch.tensor([self.index[prompt] for prompt in prompts])

    def log_reference(self) -> Any:
        """ln of the weights of the reference responses, alike."""
        cells = self.table.members[..., 0]
        return torch.full_like(cells, -math.log(cells.shape[1]))
