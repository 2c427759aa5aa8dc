"""How one reward model, or a population of them, is fitted to comparisons."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float

from bandits.comparisons import Comparisons
from bandits.networks import Layers
from theory import checks


@dataclass(frozen=True)
class RewardTraining:
    """Full-batch Adam.

    level: weight of (r_chosen + r_rejected)^2, which pins the free constant of Bradley-Terry
           scores near 0 [adaptive2024, sec. 4].
    """

    steps: int = 50
    learning_rate: float = 1e-2
    level: float = 0.0

    def __post_init__(self) -> None:
        checks.positive("steps", self.steps)
        checks.positive("learning_rate", self.learning_rate)
        checks.positive("level", self.level, zero_allowed=True)

    def fit(self, parameters: Layers, loss: Callable[[int], torch.Tensor]) -> None:
        """Minimise `loss(step)`, a sum over networks that do not interact."""
        adam = torch.optim.Adam(parameters, lr=self.learning_rate, fused=True)
        for step in range(self.steps):
            adam.zero_grad()
            loss(step).backward()
            adam.step()

    def bradley_terry(
        self, data: Comparisons, scores: Float[torch.Tensor, "seeds #members prompts responses"]
    ) -> torch.Tensor:
        """-ln sigma(r_chosen - r_rejected), weighted and summed over networks [bradley1952]."""
        won, lost = data.gather(scores, data.chosen), data.gather(scores, data.rejected)
        loss = -torch.nn.functional.logsigmoid(won - lost)
        if self.level:
            loss = loss + self.level * (won + lost) ** 2
        return (data.weights * loss).sum()
