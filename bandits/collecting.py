"""PPO that keeps what it drew, and its own state, for refinement [ugda2025, sec. 4.1]."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int

from bandits.optimisers import PPO
from bandits.policies import Policy
from bandits.policy_gradients import flat
from bandits.rollouts import drawn, rollout_dice
from theory.influence import AdamState, adam_step_as_printed
from theory.schedules import Annealed


class TrainingState(NamedTuple):
    """A policy in training: parameters, moments of Adam, moments of [ugda2025, Eq. 6], ln pi."""

    parameters: Float[torch.Tensor, "seeds parameters"]
    first: Float[torch.Tensor, "seeds parameters"]
    second: Float[torch.Tensor, "seeds parameters"]
    first_as_printed: Float[torch.Tensor, "seeds parameters"]
    second_as_printed: Float[torch.Tensor, "seeds parameters"]
    log_policy: Float[torch.Tensor, "seeds prompts responses"]


@dataclass(frozen=True)
class Collecting(PPO):
    """PPO that keeps every iteration's policy, and its state after the iterations that are `due`.

    For one call of `optimise`.
    """

    annealed: Annealed | None = None
    due: tuple[int, ...] = ()
    policies: list[torch.Tensor] = field(default_factory=list, compare=False, repr=False)
    states: list[TrainingState] = field(default_factory=list, compare=False, repr=False)
    printed: list[AdamState] = field(default_factory=list, compare=False, repr=False)
    """The last moments of the printed recursion; in float64, as they grow without bound."""

    def _improve(
        self,
        descent: torch.optim.Optimizer,
        policy: Policy,
        current: torch.Tensor,
        advantage: torch.Tensor,
    ) -> None:
        if not self.policies:
            self.printed.append(AdamState.start(flat(policy.parameters).double()))
            descent.register_step_post_hook(lambda *_: self._follow(policy))
        self.policies.append(current.detach())
        super()._improve(descent, policy, current, advantage)
        if len(self.policies) in self.due:
            moments = [descent.state[layer] for layer in policy.parameters]
            self.states.append(
                TrainingState(
                    flat(policy.parameters),
                    flat([m["exp_avg"] for m in moments]),
                    flat([m["exp_avg_sq"] for m in moments]),
                    self.printed[0].first,
                    self.printed[0].second,
                    policy.log_probabilities().detach(),
                )
            )

    def _follow(self, policy: Policy) -> None:
        """One step of the printed recursion, on the gradients that Adam has just used."""
        gradients = [layer.grad for layer in policy.parameters if layer.grad is not None]
        self.printed[0] = adam_step_as_printed(flat(gradients).double(), self.printed[0]).state

    def interactions(
        self, log_reference: torch.Tensor, seeds: tuple[int, ...]
    ) -> Int[torch.Tensor, "seeds steps prompts draws"]:
        """Every response that was drawn."""
        dice = rollout_dice(log_reference, seeds, len(self.policies), self.samples).unbind(1)
        pairs = zip(self.policies, dice, strict=True)
        return torch.stack([drawn(before, thrown) for before, thrown in pairs], 1)
