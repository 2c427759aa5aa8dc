"""From an objective to policies: exactly, by best-of-n, by the exact gradient, and by PPO."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float

from bandits.policies import Policy
from bandits.streams import draw
from theory import checks
from theory.arrays import like, to_numpy
from theory.best_of_n import best_of_n_law
from theory.objective import Bound, Objective, sample_reward, value
from theory.optimum import bind, solve
from theory.penalties import Penalty
from theory.scores import Scores

Evaluation = tuple[int, torch.Tensor, Bound]
"""Step, ln pi (seeds, prompts, responses), and the bound objective that was optimised."""


@dataclass(frozen=True)
class Annealed:
    """beta falls geometrically from `start` to the objective's own over a share of the steps.

    A network shared by the prompts saturates early under a small fixed beta.
    """

    start: float = 2.0
    share: float = 0.8

    def __post_init__(self) -> None:
        checks.positive("start", self.start)
        checks.positive("share", self.share)

    def beta(self, final: float, step: int, steps: int) -> float:
        """beta at one step.

        >>> Annealed(2.0, 0.5).beta(0.02, 5, 20)
        0.2
        """
        done = min(1.0, step / max(1.0, self.share * steps))
        return float(self.start * (final / self.start) ** done)


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
    """Adam on the exact `value`, averaged over prompts."""

    learning_rate: float = 5e-3
    annealed: Annealed | None = None

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
        for step in range(steps):
            now = _at_step(bound, self.annealed, step, steps)
            loss = -value(now, policy.log_probabilities(), log_reference, scores).mean(-1).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
            if _due(step, steps, evaluate_every):
                yield step + 1, policy.log_probabilities().detach(), bound


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation on sampled responses [schulman2017], with a table critic.

    samples:       responses drawn for each prompt and iteration.
    epochs:        passes over them, each one step of Adam.
    clip:          half-width of the trusted interval of pi / pi_old.
    critic_rate:   how far the value of a prompt moves to the mean sampled reward.
    annealed:      schedule of beta, or None for a constant one.
    whiten:        divide advantages by their standard deviation.

    Rewards depend on the cell alone, so the clipped loss needs only how often each cell was drawn.
    With one epoch the ratio is 1 and nothing is clipped: REINFORCE with a baseline (`REINFORCE`).
    """

    samples: int = 16
    epochs: int = 4
    clip: float = 0.2
    learning_rate: float = 5e-3
    critic_rate: float = 0.3
    annealed: Annealed | None = Annealed()
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
        prompts = log_reference.shape[-2]
        critic = torch.zeros_like(log_reference[..., 0])
        noise = draw(
            seeds, "rollouts", lambda rng: rng.random((steps, prompts, self.samples)),
            dtype=log_reference.dtype, device=str(log_reference.device),
        )  # fmt: skip
        for step in range(steps):
            now = _at_step(bound, self.annealed, step, steps)
            current = policy.log_probabilities()
            with torch.no_grad():
                before = current.detach()
                counts = _counts(before, noise[:, step])
                reward = sample_reward(now, before - log_reference, scores)
                advantage = reward - critic[..., None]
                sampled = (counts * reward).sum(-1) / self.samples
                critic = critic + self.critic_rate * (sampled - critic)
                weights = counts / self.samples
                if self.whiten:
                    advantage = _whitened(advantage, weights)
            self._improve(adam, policy, current, advantage, weights)
            if _due(step, steps, evaluate_every):
                yield step + 1, policy.log_probabilities().detach(), bound

    def _improve(
        self,
        adam: torch.optim.Adam,
        policy: Policy,
        current: torch.Tensor,
        advantage: torch.Tensor,
        weights: torch.Tensor,
    ) -> None:
        """The epochs of one iteration; the loss of a seed is its own."""
        before = current.detach()
        for epoch in range(self.epochs):
            log_policy = policy.log_probabilities() if epoch else current
            ratio = (log_policy - before).exp()
            trusted = ratio.clamp(1 - self.clip, 1 + self.clip)
            surrogate = torch.minimum(ratio * advantage, trusted * advantage)
            loss = -(weights * surrogate).sum(-1).mean(-1).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()


REINFORCE = PPO(epochs=1)
"""One policy-gradient step an iteration, with the critic as baseline."""


def _at_step(bound: Bound, annealed: Annealed | None, step: int, steps: int) -> Bound:
    """The bound objective at the beta of this step."""
    strength = bound.objective.strength
    if annealed is None or not isinstance(strength, Penalty):
        return bound
    beta = annealed.beta(strength.beta, step, steps)
    return Bound(replace(bound.objective, strength=Penalty(beta)), bound.binding)


def _counts(log_policy: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """How often each response was drawn, by inverting the cumulative probabilities."""
    edges = log_policy.exp().cumsum(-1)
    chosen = torch.searchsorted(edges, noise.contiguous()).clamp(max=log_policy.shape[-1] - 1)
    return torch.zeros_like(log_policy).scatter_add_(-1, chosen, torch.ones_like(noise))


def _whitened(advantage: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Advantages of each seed with mean 0 and standard deviation 1 over its samples."""
    share = weights / weights.sum((-1, -2), keepdim=True)
    mean = (share * advantage).sum((-1, -2), keepdim=True)
    variance = (share * (advantage - mean) ** 2).sum((-1, -2), keepdim=True)
    return (advantage - mean) / (variance.sqrt() + 1e-8)


def _due(step: int, steps: int, every: int) -> bool:
    return (step + 1) % every == 0 or step + 1 == steps
