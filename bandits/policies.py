"""Policies of a population: a shared network, or a table of logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float

from bandits.networks import Layers, PerPrompt


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
    network: PerPrompt
    shape: tuple[int, int]

    @classmethod
    def initial(cls, world: Any, seeds: Sequence[int]) -> "MlpPolicy":
        """Random weights of each seed."""
        network = PerPrompt((world.hidden, world.hidden))
        parameters = network.init(
            seeds, "policy", world.shape, dtype=world.gold.dtype, device=world.device
        )
        return cls(parameters, network, world.shape)

    def fitted(
        self, target: Float[torch.Tensor, "prompts responses"], steps: int = 300
    ) -> "MlpPolicy":
        """Supervised fine-tuning: this policy after Adam on the cross-entropy with `target`."""
        adam = torch.optim.Adam(self.parameters, lr=1e-2, fused=True)
        for _ in range(steps):
            loss = -(target * self.log_probabilities()).sum(-1).mean(-1).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
        return self

    def log_probabilities(self) -> Float[torch.Tensor, "seeds prompts responses"]:
        """ln pi of every response."""
        return torch.log_softmax(self.network(self.parameters, self.shape)[:, 0], -1)


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
