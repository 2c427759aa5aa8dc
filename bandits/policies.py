"""Policies of a population: a shared network, or a table of logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float

from bandits.networks import Layers, forward, init_layers


@runtime_checkable
class Policy(Protocol):
    """Anything with parameters and log-probabilities (seeds, prompts, responses)."""

    @property
    def parameters(self) -> Layers:
        """What an optimiser moves."""
        ...

    def log_probabilities(self) -> Float[torch.Tensor, "seeds prompts responses"]:
        """ln pi of every response, differentiable."""
        ...


@dataclass(frozen=True, eq=False)
class MlpPolicy:
    """Three layers from a one-hot prompt to the logits of its responses, shared by the prompts."""

    parameters: Layers

    @classmethod
    def initial(cls, world: Any, seeds: Sequence[int]) -> "MlpPolicy":
        """Random weights of each seed."""
        sizes = (world.prompts, world.hidden, world.hidden, world.responses)
        return cls(init_layers(seeds, "policy", sizes, device=world.device))

    def log_probabilities(self) -> Float[torch.Tensor, "seeds prompts responses"]:
        """ln pi of every response."""
        return torch.log_softmax(forward(self.parameters)[:, 0], -1)


@dataclass(frozen=True, eq=False)
class TabularPolicy:
    """One logit a cell."""

    parameters: Layers

    @classmethod
    def at(cls, log_policy: Float[torch.Tensor, "seeds prompts responses"]) -> "TabularPolicy":
        """The table of a given policy."""
        return cls([log_policy.detach().clone().requires_grad_()])

    def log_probabilities(self) -> Float[torch.Tensor, "seeds prompts responses"]:
        """ln pi of every response."""
        return torch.log_softmax(self.parameters[0], -1)
