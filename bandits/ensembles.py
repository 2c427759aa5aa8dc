"""Kinds of reward ensembles by what their members share [zhang2024, sec. 3.1]."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float

from bandits.comparisons import Comparisons
from bandits.ensemble import Ensemble, Outputs, Parameters, Shared
from bandits.networks import Layers
from bandits.posteriors import Brme, Laplace
from bandits.reward_models import RewardTraining
from bandits.streams import uniform
from theory import checks

Loss = Callable[[torch.Tensor], torch.Tensor]
"""Of the scores (seeds, members, prompts, responses) of all networks, summed over them."""


def no_loss(scores: torch.Tensor) -> torch.Tensor:
    """Zero."""
    return scores.new_zeros(())


@dataclass(frozen=True, eq=False)
class Fitted:
    """Members as they are: what an optimiser moves, and their scores of all cells."""

    parameters: Layers
    scores: Callable[[], Float[torch.Tensor, "seeds members prompts responses"]]

    def outputs(self) -> Outputs:
        """What they say now."""
        return Outputs(self.scores().detach())

    def fit(self, training: RewardTraining, data: Comparisons, extra: Loss = no_loss) -> "Fitted":
        """These members, after training on comparisons and an `extra` loss of their scores."""

        def loss(_: int) -> torch.Tensor:
            scores = self.scores()
            return training.bradley_terry(data, scores) + extra(scores)

        training.fit(self.parameters, loss)
        return self


@dataclass(frozen=True)
class Trainable(Ensemble):
    """Members that go from where they start to their scores by one fit, and can be trained on."""

    @abstractmethod
    def start(self, data: Comparisons, seeds: Sequence[int], shape: tuple[int, int]) -> Fitted:
        """Members before that fit, on the trunk of a first stage if they share one."""

    def fitted(
        self,
        data: Comparisons,
        seeds: Sequence[int],
        shape: tuple[int, int],
        extra: Loss = no_loss,
    ) -> Fitted:
        """Trained members; `extra` is added to their loss."""
        return self.start(data, seeds, shape).fit(self.training, data, extra)

    def train(self, data: Comparisons, seeds: Sequence[int], shape: tuple[int, int]) -> Outputs:
        """What `fitted` members say."""
        return self.fitted(data, seeds, shape).outputs()


@dataclass(frozen=True)
class Independent(Trainable):
    """Networks of their own, which differ by initial weights [zhang2024, sec. 3.1]."""

    def start(self, data: Comparisons, seeds: Sequence[int], shape: tuple[int, int]) -> Fitted:
        """Whole networks."""
        layers = self._init(data, seeds, "reward", shape, self.members)
        return Fitted(layers, lambda: self.network(layers, shape))

    def parameters(self, shape: tuple[int, int]) -> Parameters:
        """k (M + L)."""
        total = self.members * self.size(shape)
        return Parameters(total, total)


@dataclass(frozen=True)
class SharedTrunk(Trainable, Shared):
    """k linear heads on one trunk [zhang2024, sec. 3.1; banerjee2024, sec. 5].

    frozen: train heads on the trunk of a first-stage model [banerjee2024]; else train trunk and
            heads together from the start [zhang2024]. On a frozen trunk and the same data all
            heads have one limit: their spread is what initialisation and early stopping left.
    """

    frozen: bool = True

    def start(self, data: Comparisons, seeds: Sequence[int], shape: tuple[int, int]) -> Fitted:
        """Heads on a trained trunk; or trunk and heads."""
        heads = self._heads(data, seeds, "head", shape)
        if self.frozen:
            trunk = self.fit_one(data, seeds, shape)[:-2]
            parameters = heads
        else:
            trunk = self._init(data, seeds, "reward", shape, 1)[:-2]
            parameters = [*trunk, *heads]

        return Fitted(parameters, lambda: self.mlp([*trunk, *heads], shape))

    def parameters(self, shape: tuple[int, int]) -> Parameters:
        """M + k L loaded; k L trained where the trunk is frozen."""
        heads = self.members * self.head_size(shape)
        loaded = self.size(shape) - self.head_size(shape) + heads
        return Parameters(heads if self.frozen else loaded, loaded)


@dataclass(frozen=True)
class LowRank(Trainable, Shared):
    """Low-rank adapters and a head of each member on the trunk of a first stage [zhang2024].

    Weights are W + A B with A (inputs, rank) random and B (rank, outputs) zero at first [hu2021].
    """

    rank: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("rank", self.rank)

    def start(self, data: Comparisons, seeds: Sequence[int], shape: tuple[int, int]) -> Fitted:
        """Adapters and heads on a trained trunk."""
        trunk = self.fit_one(data, seeds, shape)[:-2]
        heads = self._heads(data, seeds, "head", shape)
        down, up = self._adapters(data, seeds, trunk)

        def scores() -> torch.Tensor:
            adapted = list(trunk)
            adapted[::2] = [w + a @ b for w, a, b in zip(trunk[::2], down, up, strict=True)]
            return self.mlp([*adapted, *heads], shape)

        return Fitted([*down, *up, *heads], scores)

    def parameters(self, shape: tuple[int, int]) -> Parameters:
        """M + k L + k A loaded; k (A + L) trained."""
        *widths, _ = self.mlp.sizes(shape)
        adapter = sum(self.rank * (a + b) for a, b in pairwise(widths))
        own = self.members * (adapter + self.head_size(shape))
        return Parameters(own, self.size(shape) - self.head_size(shape) + own)

    def _adapters(
        self, data: Comparisons, seeds: Sequence[int], trunk: Layers
    ) -> tuple[Layers, Layers]:
        down, up = [], []
        for index, weight in enumerate(trunk[::2]):
            size = (self.members, weight.shape[-2], self.rank)
            noise = self._draw(data, seeds, f"adapter {index}", partial(uniform, size=size))
            down.append((noise * size[1] ** -0.5).requires_grad_())
            zeros = torch.zeros_like(weight[..., :1, :]).expand(-1, self.members, self.rank, -1)
            up.append(zeros.clone().requires_grad_())
        return down, up


ENSEMBLES: dict[str, type[Ensemble]] = {
    "independent": Independent,
    "shared_trunk": SharedTrunk,
    "low_rank": LowRank,
    "brme": Brme,
    "laplace": Laplace,
}
"""Kinds by name."""
