"""How one reward model, or a population of them, is fitted to comparisons."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float

from bandits.comparisons import Comparisons
from bandits.networks import Layers
from theory import checks
from theory.preferences import preference_loss


@dataclass(frozen=True)
class RewardTraining:
    """Full-batch Adam.

    centring: weight of (r_chosen + r_rejected)^2 [adaptive2024, Eq. 1].
    """

    steps: int = 50
    learning_rate: float = 1e-2
    centring: float = 0.0

    def __post_init__(self) -> None:
        checks.positive("steps", self.steps)
        checks.positive("learning_rate", self.learning_rate)
        checks.positive("centring", self.centring, zero_allowed=True)

    def fit(self, parameters: Layers, loss: Callable[[int], torch.Tensor]) -> None:
        """Minimise `loss(step)`, a sum over networks that do not interact."""
        adam = torch.optim.Adam(parameters, lr=self.learning_rate, fused=True)
        for step in range(self.steps):
            adam.zero_grad()
            loss(step).backward()
            adam.step()

    def bradley_terry(
        self, data: Comparisons, scores: Float[torch.Tensor, " seeds #members prompts responses"]
    ) -> torch.Tensor:
        """`theory.preferences.preference_loss`, weighted and summed over networks."""
        won, lost = data.gather(scores, data.chosen), data.gather(scores, data.rejected)
        return (data.weights * preference_loss(won, lost, centring=self.centring)).sum()
