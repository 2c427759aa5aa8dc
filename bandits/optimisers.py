"""From an objective to policies: exactly, by best-of-n, by the exact gradient, and by PPO."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int

from bandits.moving_objective import MovingObjective
from bandits.policies import Policy
from bandits.streams import draw
from theory import checks
from theory.arrays import like, to_numpy
from theory.best_of_n import best_of_n_law
from theory.objective import Bound, Objective
from theory.optimum import bind, solve
from theory.schedules import Annealed, Controller
from theory.scores import Scores

LARGEST = 30.0
"""ln of the largest ratio of probabilities that is told from a larger one: none overflows."""
Evaluation = tuple[int, torch.Tensor, Bound]
"""Step, ln pi (seeds, prompts, responses), and the bound objective that was optimised."""


@dataclass(frozen=True)
class Exact:
    """`theory.solve`: no optimiser error."""

    def optimise(
        self,
        objective: Objective,
        scores: Scores,
        log_reference: Float[torch.Tensor, "seeds prompts responses"],
        policy: Policy,
        seeds: Sequence[int],
        steps: int,
        evaluate_every: int,
    ) -> Iterator[Evaluation]:
        """The optimum, as the one evaluation of step `steps`."""
        solution = solve(objective, log_reference, scores)
        bound = bind(objective, scores, log_reference)
        yield steps, solution.log_policy, bound


@dataclass(frozen=True)
class BestOfN:
    """The best of n responses of the reference by the objective's utility, in law.

    Its strength is n: the penalty of the objective plays no role. [beirami2024], with ties.
    """

    n: int = 16

    def __post_init__(self) -> None:
        checks.positive("n", self.n)

    def optimise(
        self,
        objective: Objective,
        scores: Scores,
        log_reference: Float[torch.Tensor, "seeds prompts responses"],
        policy: Policy,
        seeds: Sequence[int],
        steps: int,
        evaluate_every: int,
    ) -> Iterator[Evaluation]:
        """The law, as the one evaluation of step `steps`."""
        bound = bind(objective, scores, log_reference)
        utility = to_numpy(bound.objective.utility(scores, bound.binding)).astype(float)
        reference = to_numpy(torch.log_softmax(log_reference.double(), -1))
        law = best_of_n_law(utility, reference, self.n)
        yield steps, like(log_reference, law.log_policy), bound


@dataclass(frozen=True)
class Gradient:
    """Adam on the exact `value`, averaged over prompts.

    annealed, controller: of beta, for a `Penalty` and for a `TargetKL`.
    """

    learning_rate: float = 5e-3
    annealed: Annealed | None = None
    controller: Controller = Controller(gain=0.02)

    def optimise(
        self,
        objective: Objective,
        scores: Scores,
        log_reference: Float[torch.Tensor, "seeds prompts responses"],
        policy: Policy,
        seeds: Sequence[int],
        steps: int,
        evaluate_every: int,
    ) -> Iterator[Evaluation]:
        """Evaluations every `evaluate_every` steps, and at the end."""
        bound = bind(objective, scores, log_reference)
        adam = torch.optim.Adam(policy.parameters, lr=self.learning_rate, fused=True)
        moving = MovingObjective(
            bound, scores, log_reference, steps, self.annealed, self.controller
        )
        for step in range(steps):
            loss = -moving.value(step, policy.log_probabilities()).mean(-1).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
            if due(step, steps, evaluate_every):
                yield step + 1, policy.log_probabilities().detach(), bound


@dataclass(frozen=True)
class PPO:
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

    def optimise(
        self,
        objective: Objective,
        scores: Scores,
        log_reference: Float[torch.Tensor, "seeds prompts responses"],
        policy: Policy,
        seeds: Sequence[int],
        steps: int,
        evaluate_every: int,
    ) -> Iterator[Evaluation]:
        """`steps` iterations; evaluations every `evaluate_every`, and at the end."""
        bound = bind(objective, scores, log_reference)
        adam = torch.optim.Adam(policy.parameters, lr=self.learning_rate, fused=True)
        moving = MovingObjective(
            bound, scores, log_reference, steps, self.annealed, self.controller
        )
        critic = torch.full_like(log_reference[..., 0], self.critic_start)
        dice = rollout_dice(log_reference, seeds, steps, self.samples)
        for step in range(steps):
            current = policy.log_probabilities()
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
            self._improve(adam, policy, current, counts / self.samples * advantage)
            if due(step, steps, evaluate_every):
                yield step + 1, policy.log_probabilities().detach(), bound

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


def drawn(
    log_policy: Float[torch.Tensor, "seeds prompts responses"],
    dice: Float[torch.Tensor, "seeds prompts samples"],
) -> Int[torch.Tensor, "seeds prompts samples"]:
    """Responses, by inverting the cumulative probabilities."""
    edges = log_policy.exp().cumsum(-1)
    return torch.searchsorted(edges, dice.contiguous()).clamp(max=log_policy.shape[-1] - 1)


def rollout_dice(
    log_reference: Float[torch.Tensor, "seeds prompts responses"],
    seeds: Sequence[int],
    steps: int,
    samples: int,
) -> Float[torch.Tensor, "seeds steps prompts samples"]:
    """Uniform numbers of every seed's rollouts."""
    size = (steps, log_reference.shape[-2], samples)
    return draw(
        seeds, "rollouts", lambda rng: rng.random(size),
        dtype=log_reference.dtype, device=str(log_reference.device),
    )  # fmt: skip


def due(step: int, steps: int, every: int) -> bool:
    """Whether a step ends with an evaluation."""
    return (step + 1) % every == 0 or step + 1 == steps


def whitened(
    advantage: Float[torch.Tensor, "seeds prompts places"],
    weights: Float[torch.Tensor, "seeds prompts places"],
) -> Float[torch.Tensor, "seeds prompts places"]:
    """Advantages of each seed with weighted mean 0 and standard deviation 1."""
    share = weights / weights.sum((-1, -2), keepdim=True)
    mean = (share * advantage).sum((-1, -2), keepdim=True)
    variance = (share * (advantage - mean) ** 2).sum((-1, -2), keepdim=True)
    return (advantage - mean) / (variance.sqrt() + 1e-8)
