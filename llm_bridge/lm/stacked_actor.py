"""Many policies and critics on one frozen language model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float

from llm_bridge.lm.actor import Actor
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.stacked import Members, StackedLora


class StackedActor(Actor):
    """P policies, each an adapter and a value head; rows are grouped by policy.

    model: taken over, frozen; seeds: one a policy, for its adapter. Value heads start at zero.
    """

    def __init__(
        self,
        model: Any,
        lora: Lora,
        seeds: Sequence[int],
        *,
        temperature: float = 1.0,
        precision: str = "float32",
    ) -> None:
        super().__init__(model, temperature=temperature, precision=precision)
        self.adapters = StackedLora(model, lora, seeds)
        heads = ValueHeads(len(seeds), model.config.hidden_size)
        self.value_head: ValueHeads = heads.to(next(self.value_head.parameters()))

    @contextmanager
    def only(self, members: Members) -> Iterator[None]:
        """Rows are of these policies alone, for the time being."""
        with self.adapters.only(members), self.value_head.only(members):
            yield

    @contextmanager
    def reference(self) -> Iterator[Any]:
        """The model that all policies started from, for the time being."""
        with self.adapters.off():
            yield self.model

    def trained(self) -> dict[str, torch.Tensor]:
        """Parameters by name; the first axis counts the policies."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}


class ValueHeads(torch.nn.Module):
    """A linear value head a member, all zero at first."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(members, width))
        self.bias = torch.nn.Parameter(torch.zeros(members))
        self._reading: Members = slice(None)

    @contextmanager
    def only(self, members: Members) -> Iterator[None]:
        """Rows are of these members alone, for the time being."""
        before, self._reading = self._reading, members
        try:
            yield
        finally:
            self._reading = before

    def forward(
        self, hidden: Float[torch.Tensor, "rows time width"]
    ) -> Float[torch.Tensor, "rows time 1"]:
        """Values of states, those of each member by its own head."""
        weight, bias = self.weight[self._reading], self.bias[self._reading]
        grouped = hidden.reshape(len(weight), -1, hidden.shape[-1])
        values = torch.baddbmm(bias[:, None, None], grouped, weight[:, :, None])
        return values.view(*hidden.shape[:-1], 1)
