"""Bradley-Terry reward models of a population, trained together."""

from dataclasses import dataclass

import torch
from jaxtyping import Int

from bandits.networks import Layers, forward
from theory import checks
from theory.scores import Scores


@dataclass(frozen=True)
class RewardTraining:
    """Full-batch Adam on the Bradley-Terry loss [bradley1952]."""

    steps: int = 50
    learning_rate: float = 1e-2

    def __post_init__(self) -> None:
        checks.positive("steps", self.steps)
        checks.positive("learning_rate", self.learning_rate)


def train_reward_models(
    layers: Layers,
    chosen: Int[torch.Tensor, "prompts"],
    rejected: Int[torch.Tensor, "seeds prompts pairs"],
    training: RewardTraining,
) -> Scores:
    """Minimise -mean ln sigma(r_chosen - r_rejected) of every member of every seed.

    The networks map a one-hot prompt to the scores of all its responses. Returns detached members
    (seeds, prompts, responses, k). Members do not interact: the loss is their sum.
    """
    best = chosen[:, None].expand(rejected.shape[0], 1, len(chosen), 1)
    worse = rejected[:, None]
    optimiser = torch.optim.Adam(layers, lr=training.learning_rate, fused=True)
    members = layers[0].shape[1]
    for _ in range(training.steps):
        scores = forward(layers)
        won = torch.gather(scores, -1, best.expand(-1, members, -1, -1))
        lost = torch.gather(scores, -1, worse.expand(-1, members, -1, -1))
        loss = -torch.nn.functional.logsigmoid(won - lost).mean((-1, -2)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return Scores(forward(layers).movedim(1, -1).contiguous())
