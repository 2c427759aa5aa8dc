"""Adapters of one trunk in one pass: the base over all rows at once, the adapters batched."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from peft.tuners.lora import LoraLayer

from llm_bridge.lm.tokens import Batch
from llm_bridge.rewards.models import at_the_end
from theory.errors import InputError


@contextmanager
def stacked(trunk: Any, adapters: Sequence[str]) -> Iterator[Any]:
    """A trunk that reads the first n rows of its input under the first adapter, the next n under
    the second, and so on, for the time being.

    Values and gradients are those of one pass an adapter, without their switching. Raises
    `InputError` for adapters of different ranks.
    """
    layers: list[Any] = [module for module in trunk.modules() if isinstance(module, LoraLayer)]
    ranks = {layer.r[name] for layer in layers for name in adapters}
    if len(ranks) != 1:
        raise InputError("adapters", "of one rank", sorted(ranks))
    for layer in layers:
        layer.forward = partial(_forward, layer, tuple(adapters))
    try:
        yield trunk
    finally:
        for layer in layers:
            del layer.forward


def states(
    trunk: Any, adapters: Sequence[str], batch: Batch
) -> Float[torch.Tensor, "k batch width"]:
    """The trunk at the last live token of each response, under every adapter."""
    k, tokens, mask = len(adapters), batch.tokens, batch.mask
    with stacked(trunk, adapters):
        out = trunk(
            input_ids=tokens.repeat(k, 1), attention_mask=mask.long().repeat(k, 1),
            position_ids=batch.positions.repeat(k, 1),
        )  # fmt: skip
    return at_the_end(out.last_hidden_state.unflatten(0, (k, len(batch))), batch)


def _forward(
    layer: Any, adapters: tuple[str, ...], x: torch.Tensor, *arguments: Any, **named: Any
) -> torch.Tensor:
    """Base and low-rank updates of a linear layer."""
    first = adapters[0]
    down = torch.stack([layer.lora_A[name].weight for name in adapters])
    up = torch.stack([layer.lora_B[name].weight * layer.scaling[name] for name in adapters])
    out = layer.base_layer(x, *arguments, **named)
    rows = layer.lora_dropout[first](x).to(down.dtype).reshape(len(adapters), -1, x.shape[-1])
    update = torch.bmm(torch.bmm(rows, down.mT), up.mT)
    return out + update.view(out.shape).to(out.dtype)
