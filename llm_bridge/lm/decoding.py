"""Responses from steps of fixed shape, which look at no number: a GPU can record them."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from transformers.cache_utils import Cache, StaticCache, StaticLayer

from llm_bridge.lm.head import logits, product_dtype
from llm_bridge.lm.tokens import positions
from theory.errors import InputError

STRIDE = 8
"""Tokens between looks at whether every response has ended: on a GPU each look waits for it."""
GRAIN = 8
"""Prompts are padded to a multiple, so that few shapes are recorded."""


@runtime_checkable
class Rule(Protocol):
    """How tokens are drawn; hashable."""

    @property
    def tokens(self) -> int:
        """Largest number of tokens of a response."""

    def pick(
        self, logits: Float[torch.Tensor, "batch words"], uniforms: Float[torch.Tensor, "batch 1"]
    ) -> Int[torch.Tensor, "batch 1"]:
        """The tokens that numbers in [0, 1) decide; a negative one where nothing can be drawn."""


class Drawn(NamedTuple):
    """Responses without columns that no response reaches."""

    tokens: Int[torch.Tensor, "batch time"]
    live: Bool[torch.Tensor, "batch time"]


class Decoder:
    """Buffers for so many prompts of one padded width, and the two steps that work on them.

    `first` reads the prompts and draws a token; `next` draws the following ones, several a call.
    Both take everything from the buffers and leave everything there, look at no number and copy
    nothing from the host, so that they can be recorded as CUDA graphs.

    Masks are added to attention, 0 or -inf. Raises `InputError` for a model whose layers do not all
    keep every token.
    """

    def __init__(
        self, model: Any, rule: Rule, rows: int, width: int, *, eos: int, pad: int
    ) -> None:
        self.rule, self.eos, self.pad, self.width = rule, eos, pad, width
        rest = rule.tokens - 1
        self.rounds = max(1, round(rest / STRIDE)) if rest else 0
        self.each = -(-rest // self.rounds) if rest else 0
        total = 1 + self.rounds * self.each
        size = -(-(width + total) // GRAIN) * GRAIN
        self.cache = _cache(model, size)

        def zeros(*shape: int, kind: torch.dtype = torch.long) -> torch.Tensor:
            return torch.zeros(*shape, dtype=kind, device=model.device)

        self.prompts, self.places = zeros(rows, width), zeros(rows, width)
        self.reach = zeros(rows, 1, width, size, kind=product_dtype(model))
        self.seen = zeros(rows, 1, 1, size, kind=self.reach.dtype)
        self.shut = torch.full_like(self.seen[..., :1], -torch.inf)
        self.uniforms = zeros(rows, total, kind=torch.float32)
        self.tokens, self.live = zeros(rows, total), zeros(rows, total, kind=torch.bool)
        self.token, self.place, self.top = zeros(rows, 1), zeros(rows, 1), zeros(rows, 1)
        self.going, self.step = zeros(rows, kind=torch.bool), zeros(1)

    def load(
        self,
        prompts: Int[torch.Tensor, "batch prompt_time"],
        mask: Bool[torch.Tensor, "batch prompt_time"],
        uniforms: Float[torch.Tensor, "batch time"],
    ) -> None:
        """Put prompts, padded on the left to the width, and their random numbers in the buffers.

        Every place sees itself, padding too: attention over nothing would be NaN.
        """
        left = (self.width - prompts.shape[1], 0)
        mask = torch.nn.functional.pad(mask, left)
        self.prompts.copy_(torch.nn.functional.pad(prompts, left, value=self.pad))
        self.places.copy_(positions(mask))
        itself = torch.eye(self.width, dtype=torch.bool, device=mask.device)
        before = torch.ones_like(itself).tril()
        read = (before & mask[:, None]) | itself
        self.reach.fill_(-torch.inf)
        self.reach[:, 0, :, : self.width].masked_fill_(read, 0)
        self.seen.fill_(-torch.inf)
        self.seen[:, 0, 0, : self.width].masked_fill_(mask, 0)
        self.uniforms[:, : self.rule.tokens].copy_(uniforms)
        self.live.zero_()
        self.place.copy_(self.places[:, -1:])
        self.top.copy_(self.place + self.rule.tokens)
        self.going.fill_(True)

    def first(self, model: Any) -> None:
        """Read the prompts, and draw the first token of every response."""
        self.cache.reset()
        self.step.zero_()
        self._draw(model, self.prompts, self.reach, self.places)

    def next(self, model: Any) -> None:
        """Draw the next `each` tokens."""
        for _ in range(self.each):
            self._draw(model, self.token, self.seen, self.place)

    def run(self, first: Callable[[], object], following: Callable[[], object]) -> Drawn:
        """All responses, by these two steps; it stops early where every response has ended."""
        first()
        for round_ in range(self.rounds):
            if round_ and not self.going.any():
                break
            following()
        width = int(self.live[:, : self.rule.tokens].sum(1).max())
        return Drawn(self.tokens[:, :width].clone(), self.live[:, :width].clone())

    def _draw(
        self, model: Any, tokens: torch.Tensor, mask: torch.Tensor, places: torch.Tensor
    ) -> None:
        """Read tokens, draw one more a row, and note it.

        A last round may draw more than the rule asks for; `top` keeps these within the positions
        that a model has.
        """
        out = model.base_model(
            input_ids=tokens, attention_mask=mask, position_ids=places,
            past_key_values=self.cache, use_cache=True,
        )  # fmt: skip
        words = logits(model, out.last_hidden_state[:, -1])
        uniform, going = self.uniforms.index_select(1, self.step), self.going[:, None]
        chosen = self.rule.pick(words, uniform).masked_fill(~going, self.pad)
        self.tokens.index_copy_(1, self.step, chosen)
        self.live.index_copy_(1, self.step, going)
        noted = self.shut.masked_fill(going[:, None, None], 0)
        self.seen.index_copy_(3, self.step + self.width, noted)
        self.going.logical_and_(chosen[:, 0] != self.eos)
        self.token.copy_(chosen.clamp(min=0))
        self.place.copy_(torch.minimum(self.place + 1, self.top))
        self.step.add_(1)


class _Layer(StaticLayer):
    """Keys and values in one dtype: in autocast, rotary positions leave keys in a wider one."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **named: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Note new ones, and give all."""
        return super().update(key_states.to(value_states.dtype), value_states, *args, **named)


def _cache(model: Any, size: int) -> Cache:
    config = model.config
    layers = StaticCache(config=config, max_cache_len=size).layers
    if any(type(layer) is not StaticLayer for layer in layers):
        raise InputError(
            "decoding", "'eager' for a model with layers of a sliding window or a state",
            type(model).__name__,
        )  # fmt: skip
    return Cache(layers=[_Layer(size) for _ in layers])
