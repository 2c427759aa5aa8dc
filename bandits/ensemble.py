"""What all reward ensembles have: members, a network, a split of the comparisons, and stages."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float

from bandits.comparisons import SPLITS, Comparisons
from bandits.networks import Layers, Mlp, Network, PerPrompt
from bandits.reward_models import RewardTraining
from bandits.streams import Sampler, draw
from theory import checks
from theory.errors import InputError


class Outputs(NamedTuple):
    """What reward models say: scores, and each head's own std where heads report one."""

    members: Float[torch.Tensor, "seeds members prompts responses"]
    head_std: Float[torch.Tensor, "seeds members prompts responses"] | None = None


class Parameters(NamedTuple):
    """Numbers of an ensemble: updated at once in its last stage, and held for scoring."""

    trainable: int
    loaded: int


@dataclass(frozen=True)
class Ensemble(ABC):
    """k reward models of one kind.

    members:  k.
    network:  architecture.
    split:    what each member sees: the 'same' comparisons, a 'bootstrap' resample, a 'disjoint'
              part, or a 'fresh' data set of its own.
    training: of each stage.
    """

    members: int = 4
    network: Network = PerPrompt()
    split: str = "same"
    training: RewardTraining = RewardTraining()

    def __post_init__(self) -> None:
        checks.positive("members", self.members)
        checks.one_of("split", self.split, SPLITS)

    @abstractmethod
    def train(self, data: Comparisons, seeds: Sequence[int], shape: tuple[int, int]) -> Outputs:
        """Fit all members of all seeds; `shape` is (prompts, responses)."""

    @abstractmethod
    def parameters(self, shape: tuple[int, int]) -> Parameters:
        """How many numbers this ensemble has [zhang2024, sec. 3.1]."""

    def size(self, shape: tuple[int, int]) -> int:
        """Weights of one network, M + L."""
        return sum(layer[0, 0].numel() for layer in self.network.init([0], "size", shape))

    def _init(
        self,
        data: Comparisons,
        seeds: Sequence[int],
        purpose: str,
        shape: tuple[int, int],
        members: int,
    ) -> Layers:
        return self.network.init(
            seeds, purpose, shape, members=members,
            dtype=data.weights.dtype, device=str(data.weights.device),
        )  # fmt: skip

    def _draw(
        self, data: Comparisons, seeds: Sequence[int], purpose: str, sample: Sampler
    ) -> torch.Tensor:
        """Random numbers of every seed, in the precision and on the device of the data."""
        return draw(
            seeds, purpose, sample, dtype=data.weights.dtype, device=str(data.weights.device)
        )

    def fit_one(self, data: Comparisons, seeds: Sequence[int], shape: tuple[int, int]) -> Layers:
        """Train the one reward model of a first stage, on everything that the members see."""
        layers = self._init(data, seeds, "reward", shape, 1)
        pooled = data.pooled()
        self.training.fit(
            layers, lambda _: self.training.bradley_terry(pooled, self.network(layers, shape))
        )
        return [layer.detach() for layer in layers]


@dataclass(frozen=True)
class Shared(Ensemble):
    """Members that share the hidden layers of a first stage."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.network, Mlp):
            raise InputError("network", "one with hidden layers to share", self.network)

    @property
    def mlp(self) -> Mlp:
        """The network, which has a trunk."""
        assert isinstance(self.network, Mlp)
        return self.network

    def _heads(
        self, data: Comparisons, seeds: Sequence[int], purpose: str, shape: tuple[int, int]
    ) -> Layers:
        """Fresh weight and bias of every member's head."""
        return self._init(data, seeds, purpose, shape, self.members)[-2:]

    def head_size(self, shape: tuple[int, int]) -> int:
        """Weights of one head, L."""
        *_, width, outputs = self.mlp.sizes(shape)
        return (width + 1) * outputs
