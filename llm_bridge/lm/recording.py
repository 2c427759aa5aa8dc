"""Steps of a decoder as CUDA graphs: recorded once for a shape, and replayed without Python."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float, Int
from peft.tuners.tuners_utils import BaseTunerLayer

from llm_bridge.lm.decoding import GRAIN, Decoder, Drawn, Rule
from llm_bridge.lm.head import product_dtype
from llm_bridge.lm.stacked import stack_of

KEPT = 4
"""Shapes of a model that stay recorded."""


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


RECORDINGS: "WeakKeyDictionary[Any, dict[Any, Recording]]" = WeakKeyDictionary()
"""Recordings of each model that is alive, by sizes, rule and ends."""


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
        kept, key = RECORDINGS.setdefault(model, {}), (rows, width, rule, eos, pad)
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
        product_dtype(model),
    )
