"""Scores made comparable: every member centred on responses of the reference."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int

from llm_bridge.rewards.fusion import Scorer, scored
from theory import checks
from theory.errors import InputError
from theory.scores import NORMALISATIONS, Scores

SMALLEST = 8
"""Reference responses of a prompt below which its mean is too rough to be subtracted."""
CENTRINGS = ("prompt", "global")


@dataclass(frozen=True, eq=False)
class Normaliser:
    """(r_i(x, y) - mean of r_i(x, .) over reference responses) / scale_i.

    Bradley-Terry scores are free up to a constant a prompt and member. Reference responses are
    drawn and scored once: the offset never depends on the policy that is trained. It is
    `Scores.normalised` of a table, by the same names: 'centred' has a scale of 1; 'standardised'
    the spread of each member, for members that differ in scale; 'none' leaves scores as they are.

    offset:   (prompts, k), or (1, k) where `centring` is 'global', one mean a member over all
              prompts: a fallback that leaves the constants of prompts in.
    table:    normalised scores of the reference responses, (prompts, responses, k), which also
              stand for the reference where an objective needs a mean over it.
    """

    score: Scorer
    index: Mapping[str, int]
    offset: Float[torch.Tensor, "rows k"]
    scale: Float[torch.Tensor, " k"]
    table: Scores
    centring: str = "prompt"

    @classmethod
    def fit(
        cls,
        score: Scorer,
        references: Mapping[str, Sequence[str]],
        *,
        centring: str = "prompt",
        normalise: str = "centred",
    ) -> "Normaliser":
        """From m >= 8 reference responses of every prompt, the same m for all.

        Raises `InputError` for fewer, numbers that differ, or an unknown name.
        """
        checks.one_of("centring", centring, CENTRINGS)
        checks.one_of("normalise", normalise, NORMALISATIONS)
        sizes = {len(texts) for texts in references.values()}
        if len(sizes) != 1 or min(sizes) < SMALLEST:
            raise InputError(
                "references", f"at least {SMALLEST} for each prompt, as many for all",
                sorted(sizes),
            )  # fmt: skip
        prompts = [prompt for prompt, texts in references.items() for _ in texts]
        flat = scored(score, prompts, [text for texts in references.values() for text in texts])
        shape = (len(references), sizes.pop(), flat.k)
        raw = flat.members.view(shape)
        offset = raw.mean((0, 1))[None] if centring == "global" else raw.mean(1)
        scale = torch.ones_like(offset[0])
        if normalise == "none":
            offset = torch.zeros_like(offset)
        if normalise == "standardised":
            spread = (raw - offset[:, None]).square().mean((0, 1)).sqrt()
            rounding = 16 * torch.finfo(raw.dtype).eps * raw.abs().amax((0, 1))
            scale = torch.where(spread > rounding, spread, scale)
        std = None if flat.head_std is None else flat.head_std.view(shape) / scale
        table = Scores((raw - offset[:, None]) / scale, std)
        index = {prompt: place for place, prompt in enumerate(references)}
        return cls(score, index, offset, scale, table, centring)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Normalised scores, (samples, k), and standard deviations of heads on the same scale."""
        raw = scored(self.score, prompts, responses, members=self.table.k)
        offset = self.offset if self.centring == "global" else self.offset[self.places(prompts)]
        std = None if raw.head_std is None else raw.head_std / self.scale
        return Scores((raw.members - offset) / self.scale, std)

    def places(self, prompts: Sequence[str]) -> Int[torch.Tensor, " samples"]:
        """Rows of the prompts in `table`; `InputError` for one without reference responses."""
        unknown = next((prompt for prompt in prompts if prompt not in self.index), None)
        if unknown is not None:
            raise InputError("prompts", "some that reference responses were drawn for", unknown)
        return torch.tensor([self.index[prompt] for prompt in prompts])

    def log_reference(self) -> Any:
        """ln of the weights of the reference responses, alike."""
        cells = self.table.members[..., 0]
        return torch.full_like(cells, -math.log(cells.shape[1]))
