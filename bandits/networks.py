"""Small networks as tensors with leading population axes: one multiplication trains them all."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float

from bandits.streams import draw, normal, uniform
from theory import checks

Layers = list[torch.Tensor]
"""Weights (*population, inputs, outputs) and biases (*population, 1, outputs), alternating."""
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
}


class Network(ABC):
    """Maps every (prompt, response) to a score: a trunk, and a linear head of two tensors.

    Populations are (seeds, members). Each member of each seed has numbers of its own, which do not
    depend on how many members or seeds there are.
    """

    @abstractmethod
    def init(
        self,
        seeds: Sequence[int],
        purpose: str,
        shape: tuple[int, int],
        *,
        members: int = 1,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> Layers:
        """Random weights for a world of `shape` = (prompts, responses)."""

    @abstractmethod
    def __call__(
        self, layers: Layers, shape: tuple[int, int]
    ) -> Float[torch.Tensor, "*population prompts responses"]:
        """Scores of all cells."""

    @abstractmethod
    def kernel(self, layers: Layers, shape: tuple[int, int]) -> torch.Tensor:
        """Inner products of what the last, linear step reads, (*population, cells, cells)."""


@dataclass(frozen=True)
class Mlp(Network):
    """Hidden layers of `hidden` widths, 'tanh' or 'relu'; uniform initial weights.

    Weights and biases start on +-1/sqrt(inputs).
    """

    hidden: tuple[int, ...] = (32, 32)
    activation: str = "tanh"

    def __post_init__(self) -> None:
        checks.one_of("activation", self.activation, ACTIVATIONS)
        if not self.hidden or min(self.hidden) < 1:
            raise checks.InputError("hidden", "the width of at least one layer", self.hidden)

    @abstractmethod
    def sizes(self, shape: tuple[int, int]) -> tuple[int, ...]:
        """Inputs, hidden widths and outputs."""

    @abstractmethod
    def first(self, layers: Layers, shape: tuple[int, int]) -> torch.Tensor:
        """Sums of the first layer; products of one-hot inputs with weights are those weights."""

    def init(
        self,
        seeds: Sequence[int],
        purpose: str,
        shape: tuple[int, int],
        *,
        members: int = 1,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> Layers:
        """Random weights of every layer, the head last."""
        return init_layers(
            seeds, purpose, self.sizes(shape), members=members, dtype=dtype, device=device
        )

    def trunk(self, layers: Layers, shape: tuple[int, int]) -> torch.Tensor:
        """Features that the head reads, (*population, rows, width)."""
        act = ACTIVATIONS[self.activation]
        hidden = act(self.first(layers, shape))
        for index in range(2, len(layers) - 2, 2):
            hidden = act(hidden @ layers[index] + layers[index + 1])
        return hidden

    def head(
        self, features: torch.Tensor, head: Layers, shape: tuple[int, int]
    ) -> Float[torch.Tensor, "*population prompts responses"]:
        """Scores of a head's weight and bias above given features."""
        scores = features @ head[0] + head[1]
        return scores.reshape(*scores.shape[:-2], *shape)

    def __call__(
        self, layers: Layers, shape: tuple[int, int]
    ) -> Float[torch.Tensor, "*population prompts responses"]:
        """Scores of all cells."""
        return self.head(self.trunk(layers, shape), layers[-2:], shape)


@dataclass(frozen=True)
class PerPrompt(Mlp):
    """One-hot prompt -> hidden layers -> the scores of all its responses [rewardrobust2024]."""

    def sizes(self, shape: tuple[int, int]) -> tuple[int, ...]:
        """From prompts to responses."""
        return (shape[0], *self.hidden, shape[1])

    def first(self, layers: Layers, shape: tuple[int, int]) -> torch.Tensor:
        """One row a prompt."""
        return layers[0] + layers[1]

    def kernel(self, layers: Layers, shape: tuple[int, int]) -> torch.Tensor:
        """Responses share features and have weights of their own."""
        features = self.trunk(layers, shape)
        same = torch.eye(shape[1], dtype=features.dtype, device=features.device)
        return torch.kron((features @ features.mT + 1).contiguous(), same)


@dataclass(frozen=True)
class Concatenated(Mlp):
    """One-hot prompt and one-hot response, side by side -> hidden layers -> one score."""

    activation: str = "relu"

    def sizes(self, shape: tuple[int, int]) -> tuple[int, ...]:
        """From prompts and responses to one number."""
        return (sum(shape), *self.hidden, 1)

    def first(self, layers: Layers, shape: tuple[int, int]) -> torch.Tensor:
        """One row a cell."""
        by_prompt, by_response = layers[0].split(shape, dim=-2)
        pairs = by_prompt[..., :, None, :] + by_response[..., None, :, :]
        return pairs.flatten(-3, -2) + layers[1]

    def kernel(self, layers: Layers, shape: tuple[int, int]) -> torch.Tensor:
        """All cells share one weight vector."""
        features = self.trunk(layers, shape)
        return features @ features.mT + 1


@dataclass(frozen=True)
class Table(Network):
    """One number a cell: nothing is shared, and what was never compared stays as it began."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        checks.positive("scale", self.scale, zero_allowed=True)

    def init(
        self,
        seeds: Sequence[int],
        purpose: str,
        shape: tuple[int, int],
        *,
        members: int = 1,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> Layers:
        """Normal cells of standard deviation `scale`."""
        cells = [
            draw(
                seeds,
                f"{purpose} {member}",
                partial(normal, size=shape),
                dtype=dtype,
                device=device,
            )
            for member in range(members)
        ]
        return [(self.scale * torch.stack(cells, dim=1)).requires_grad_()]

    def __call__(
        self, layers: Layers, shape: tuple[int, int]
    ) -> Float[torch.Tensor, "*population prompts responses"]:
        """The cells themselves."""
        return layers[0]

    def kernel(self, layers: Layers, shape: tuple[int, int]) -> torch.Tensor:
        """Cells have nothing in common."""
        cells = layers[0].flatten(-2)
        return torch.diag_embed(torch.ones_like(cells))


NETWORKS: dict[str, type[Network]] = {
    "per_prompt": PerPrompt,
    "concatenated": Concatenated,
    "table": Table,
}
"""Architectures by name."""


def init_layers(
    seeds: Sequence[int],
    purpose: str,
    sizes: Sequence[int],
    *,
    members: int = 1,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Layers:
    """Weights and biases uniform on +-1/sqrt(inputs), population (seeds, members)."""
    sample = partial(uniform, size=parameter_count(sizes))
    each = [
        draw(seeds, f"{purpose} {member}", sample, dtype=dtype, device=device)
        for member in range(members)
    ]
    numbers, layers, start = torch.stack(each, dim=1), [], 0
    for inputs, outputs in pairwise(sizes):
        for rows in (inputs, 1):
            part = numbers[..., start : start + rows * outputs] * inputs**-0.5
            layers.append(part.unflatten(-1, (rows, outputs)).contiguous().requires_grad_())
            start += rows * outputs
    return layers


def parameter_count(sizes: Sequence[int]) -> int:
    """Weights and biases of one network.

    >>> parameter_count((8, 32, 32, 8))
    1608
    """
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))
