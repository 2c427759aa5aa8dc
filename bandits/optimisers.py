"""From an objective to policies: exactly, by best-of-n, by the exact gradient, and by PPO."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float

from bandits.optimiser import Evaluation, Optimiser, Task
from bandits.policies import Policy
from bandits.rollouts import drawn, rollout_dice, whitened
from theory import checks
from theory.arrays import like, to_numpy
from theory.best_of_n import best_of_n_law
from theory.optimum import solve
from theory.schedules import Annealed, Controller

LARGEST = 30.0
"""ln of the largest ratio of probabilities that is told from a larger one: none overflows."""


@dataclass(frozen=True)
class Exact(Optimiser):
    """`theory.solve`: no optimiser error."""

    def evaluations(self, task: Task) -> Iterator[Evaluation]:
        """The optimum, as the one evaluation of step `steps`."""
        solution = solve(task.objective, task.log_reference, task.scores)
        yield task.steps, solution.log_policy, task.bound


@dataclass(frozen=True)
class BestOfN(Optimiser):
    """The best of n responses of the reference by the objective's utility, in law.

    Its strength is n: the penalty of the objective plays no role. [beirami2024], with ties.
    """

    n: int = 16

    def __post_init__(self) -> None:
        checks.positive("n", self.n)

    def evaluations(self, task: Task) -> Iterator[Evaluation]:
        """The law, as the one evaluation of step `steps`."""
        utility = task.objective.utility(task.scores, task.bound.binding)
        reference = to_numpy(torch.log_softmax(task.log_reference.double(), -1))
        law = best_of_n_law(to_numpy(utility).astype(float), reference, self.n)
        yield task.steps, like(task.log_reference, law.log_policy), task.bound


@dataclass(frozen=True)
class Gradient(Optimiser):
    """Adam on the exact `value`, averaged over prompts.

    annealed, controller: of beta, for a `Penalty` and for a `TargetKL`.
    """

    learning_rate: float = 5e-3
    annealed: Annealed | None = None
    controller: Controller = Controller(gain=0.02)

    def evaluations(self, task: Task) -> Iterator[Evaluation]:
        """Evaluations every `evaluate_every` steps, and at the end."""
        adam = torch.optim.Adam(task.policy.parameters, lr=self.learning_rate, fused=True)
        moving = task.moving(self.annealed, self.controller)
        for step in range(task.steps):
            loss = -moving.value(step, task.policy.log_probabilities()).mean(-1).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
            yield from task.evaluation(step)


@dataclass(frozen=True)
class PPO(Optimiser):
    """Proximal policy optimisation on sampled responses [schulman2017], with a table critic.

    samples:       responses drawn for each prompt and iteration.
    epochs:        passes over them, each one step of Adam.
    clip:          half-width of the trusted interval of pi / pi_old.
    critic_start:  value of every prompt at first.
    critic_rate:   how far the value of a prompt moves to the mean sampled reward.
    annealed:      schedule of the beta of a `Penalty`, or None for a constant one.
    controller:    of beta, for a `TargetKL`.
    whiten:        centre advantages and divide them by their standard deviation.

    A response is one step, so generalised advantages are reward minus value for every lambda.
    Rewards depend on the cell alone, so the clipped loss needs only how often each cell was drawn.
    With one epoch the ratio is 1 and nothing is clipped: REINFORCE with a baseline (`REINFORCE`).
    """

    samples: int = 16
    epochs: int = 4
    clip: float = 0.2
    learning_rate: float = 5e-3
    critic_start: float = 0.0
    critic_rate: float = 0.3
    annealed: Annealed | None = Annealed()
    controller: Controller = Controller()
    whiten: bool = False

    def __post_init__(self) -> None:
        for name in ("samples", "epochs", "clip", "learning_rate", "critic_rate"):
            checks.positive(name, getattr(self, name))

    def evaluations(self, task: Task) -> Iterator[Evaluation]:
        """`steps` iterations; evaluations every `evaluate_every`, and at the end."""
        adam = torch.optim.Adam(task.policy.parameters, lr=self.learning_rate, fused=True)
        moving = task.moving(self.annealed, self.controller)
        critic = torch.full_like(task.log_reference[..., 0], self.critic_start)
        dice = rollout_dice(task.log_reference, task.seeds, task.steps, self.samples)
        for step in range(task.steps):
            current = task.policy.log_probabilities()
            with torch.no_grad():
                before = current.detach()
                chosen = drawn(before, dice[:, step])
                counts = torch.zeros_like(before)
                counts.scatter_add_(-1, chosen, torch.ones_like(dice[:, step]))
                reward = moving.reward(step, before)
                advantage = reward - critic[..., None]
                sampled = (counts * reward).sum(-1) / self.samples
                critic = critic + self.critic_rate * (sampled - critic)
                if self.whiten:
                    advantage = whitened(advantage, counts)
            self._improve(adam, task.policy, current, counts / self.samples * advantage)
            yield from task.evaluation(step)

    def _improve(
        self,
        descent: torch.optim.Optimizer,
        policy: Policy,
        current: torch.Tensor,
        advantage: Float[torch.Tensor, "*parts seeds prompts responses"],
    ) -> None:
        """The epochs of one iteration on summed advantages; the loss of a seed is its own."""
        before = current.detach()
        for epoch in range(self.epochs):
            log_policy = policy.log_probabilities() if epoch else current
            ratio = (log_policy - before).clamp(max=LARGEST).exp()
            trusted = ratio.clamp(1 - self.clip, 1 + self.clip)
            surrogate = torch.minimum(ratio * advantage, trusted * advantage)
            loss = -surrogate.sum(-1).mean(-1).sum()
            descent.zero_grad()
            loss.backward()
            descent.step()


REINFORCE = PPO(epochs=1)
"""One policy-gradient step an iteration, with the critic as baseline."""
OPTIMISERS = {
    "ppo": PPO(),
    "reinforce": REINFORCE,
    "gradient": Gradient(),
    "exact": Exact(),
    "best_of_n": BestOfN(),
}
"""Optimisers by name, with their defaults."""
