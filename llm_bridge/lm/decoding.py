"""Responses from steps of fixed shape, which a GPU records once and replays without Python."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float, Int
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers.cache_utils import Cache, StaticCache, StaticLayer

from llm_bridge.lm.head import logits
from llm_bridge.lm.stacked import stack_of
from llm_bridge.lm.tokens import positions
from theory.errors import InputError

STRIDE = 8
"""Tokens between looks at whether every response has ended: on a GPU each look waits for it."""
GRAIN = 8
"""Prompts are padded to a multiple, so that few shapes are recorded."""
KEPT = 4
"""Shapes of a model that stay recorded."""


@runtime_checkable
class Rule(Protocol):
    """How tokens are drawn; hashable."""

    @property
    def tokens(self) -> int:
        """Largest number of tokens of a response."""

    def pick(
        self, logits: Float[torch.Tensor, "batch words"], uniforms: Float[torch.Tensor, "batch 1"]
    ) -> Int[torch.Tensor, "batch 1"]:
        """The tokens that numbers in [0, 1) decide."""


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
        self.reach = zeros(rows, 1, width, size, kind=_precision(model))
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
        self.token.copy_(chosen)
        self.place.copy_(torch.minimum(self.place + 1, self.top))
        self.step.add_(1)


class Recording:
    """The steps of a `Decoder` as CUDA graphs, made at the first prompts that it loads.

    Weights are read where they are at every replay: training in place needs no new recording.
    Casts that autocast makes of them are recorded too, once a graph, and are of no use outside it.
    """

    def __init__(self, decoder: Decoder, model: Any) -> None:
        self.decoder, self.stamp = decoder, stamp(model)
        self._warm_up(model)
        self._first = self._record(lambda: decoder.first(model))
        self._next = self._record(lambda: decoder.next(model)) if decoder.each else self._first

    def run(self) -> Drawn:
        """All responses to what the decoder has loaded."""
        return self.decoder.run(self._first.replay, self._next.replay)

    def _warm_up(self, model: Any) -> None:
        """Run each step, so that what is set up once is set up outside of the recording."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self.decoder.first(model)
                self.decoder.next(model)
        torch.cuda.current_stream().wait_stream(side)

    def _record(self, act: Callable[[], None]) -> Any:
        graph = torch.cuda.CUDAGraph()
        torch.clear_autocast_cache()
        with torch.cuda.graph(graph):
            act()
        torch.clear_autocast_cache()
        return graph


_RECORDINGS: "WeakKeyDictionary[Any, dict[Any, Recording]]" = WeakKeyDictionary()


def recorded(
    model: Any,
    prompts: Int[torch.Tensor, "batch prompt_time"],
    mask: Bool[torch.Tensor, "batch prompt_time"],
    rule: Rule,
    *,
    eos: int,
    pad: int,
    uniforms: Float[torch.Tensor, "batch time"],
) -> Drawn:
    """Responses by steps of fixed shape: replayed on a GPU, run one by one elsewhere.

    Recordings are kept with the model, the last `KEPT` shapes of it. Raises `InputError` as
    `Decoder`.
    """
    rows, width = len(prompts), -(-prompts.shape[1] // GRAIN) * GRAIN
    if model.device.type != "cuda":
        decoder = Decoder(model, rule, rows, width, eos=eos, pad=pad)
        decoder.load(prompts, mask, uniforms)
        return decoder.run(lambda: decoder.first(model), lambda: decoder.next(model))
    with torch.cuda.device(model.device):
        kept, key = _RECORDINGS.setdefault(model, {}), (rows, width, rule, eos, pad)
        found = kept.pop(key, None)
        if found is None or found.stamp != stamp(model):
            decoder = Decoder(model, rule, rows, width, eos=eos, pad=pad)
            decoder.load(prompts, mask, uniforms)
            found = Recording(decoder, model)
        kept[key] = found
        while len(kept) > KEPT:
            del kept[next(iter(kept))]
        found.decoder.load(prompts, mask, uniforms)
        return found.run()


def stamp(model: Any) -> tuple[Any, ...]:
    """What a recording depends on besides shapes: where weights lie, adapters, and precision."""
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    stack = stack_of(model)
    weights = [*model.parameters(), *([] if stack is None else stack.parameters())]
    return (
        tuple(p.data_ptr() for p in weights),
        None if stack is None else repr(stack.reading),
        tuple((layer.disable_adapters, *layer.active_adapters) for layer in layers),
        model.training,
        _precision(model),
    )


def _precision(model: Any) -> torch.dtype:
    """Of matrix products."""
    kind = model.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else model.dtype


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
