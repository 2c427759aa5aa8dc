"""PPO as TRL 1.12 has it, for comparison with results that were trained so.

    actor = actor_with(policy, value_model, temperature=0.7)
    trainer = TRLTrainer(actor, policy, tokenizer, normaliser, None, prompts, vanilla(0.05),
                         SETTINGS, sampling=Sampling(53, temperature=0.7), limit=1024, seed=0)
    for step, row, rolled in trainer.run(steps): ...

`SETTINGS` are TRL's defaults: a separate critic, lambda 0.95, no clipping of gradients, no decay of
weights, a learning rate that falls linearly to 0, rollout by rollout. TRL knows `vanilla` only, and
scores as they are (an `offset` of 0, a `scale` of 1); other objectives and normalisers are a
generalisation. Where TRL and `Trainer` differ:

- TRL puts the score after an end-of-sequence token, and its critic values the state there. At
  lambda < 1 a guess of the critic stands between the last token and its score. `Trainer` puts it on
  the last token, which is sounder: nothing follows it.
- The KL of each token is a reward by k1 or by k3. k1, as in `Trainer`, is sounder: by -k3 a token
  follows the gradient of KL(pi0 || pi) - KL(pi || pi0), which is of second order at the reference.
- `whiten_rewards` divides rewards by their spread, but keeps their mean: a constant is added to
  every token, which favours long or short responses. Off, as in `Trainer`, is sounder.
- `missing_eos_penalty` is taken from the scores of responses that were cut. `Trainer` has none; it
  is a matter of what is wanted.
- Advantages are always whitened, by the variance over n - 1 in place of n tokens: no matter.
- A critic of its own costs a second model. `Trainer` shares the policy's trunk by default, under a
  head that starts at 0. Neither is sounder.
- Gradients are not clipped. `Trainer` clips them by default, which is sounder against bad rollouts.

The same but for rounding: log-probabilities of a rollout are read again by the policy, and
temperatures lack the 1e-7 that TRL adds. Not there: responses that go on after their end (TRL's
`stop_token=None`), and steps in parts or on several processes, whose means TRL averages as if all
had as many tokens; `Trainer` weights them by tokens, which is sounder.
"""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from llm_bridge.lm.actor import Actor, Reading
from llm_bridge.lm.head import at_least_float32
from llm_bridge.ppo import Trainer
from llm_bridge.rollout import Rollout
from llm_bridge.settings import Settings
from theory import checks
from theory.errors import InputError
from theory.kl_estimators import ESTIMATORS
from theory.policy_gradient import Advantages, Surrogate, gae, masked_whiten

SETTINGS = Settings(
    batch=8, epochs=4, minibatches=1, learning_rate=3e-6, schedule="linear", lam=0.95,
    clip_norm=None, charge="spread", critic="separate",
)  # fmt: skip
NO_TOKEN = 1.0
"""In place of ln of a probability, which is never above 0, where there is a value but no token."""


@dataclass(frozen=True)
class Rewards:
    """What TRL makes of scores and KL; see the module for which is sounder."""

    kl_estimator: str = "k1"
    """'k1' or 'k3', of every token."""
    whiten_rewards: bool = False
    missing_eos_penalty: float = 0.0
    """Taken from the score of a response without an end-of-sequence token."""

    def __post_init__(self) -> None:
        checks.one_of("kl_estimator", self.kl_estimator, ("k1", "k3"))


class TRLTrainer(Trainer):
    """`Trainer` with the rewards, advantages, and losses of TRL 1.12's PPOTrainer.

    Takes what `Trainer` takes, and `options`. Raises `InputError` for settings that TRL lacks.
    """

    def __init__(self, *args: Any, options: Rewards = Rewards(), **more: Any) -> None:
        super().__init__(*args, **more)
        self.options = options
        found = (self.settings.accumulate, self.settings.whiten, self.processes.count)
        if found != (1, True, 1):
            raise InputError("settings", "accumulate 1, whiten True, one process", found)

    def shape(self, rolled: Rollout) -> Float[torch.Tensor, "batch time"]:
        """-beta * price * KL of each token, and the utility of a response after its end."""
        options, batch = self.options, rolled.batch
        wide, beta = one_beyond(batch.live), float(np.exp(self.log_beta))
        parts = self.shaper.parts(rolled.scores, rolled.places)
        utility, fixed, price = (part.to(batch.live.device) for part in parts)
        ended = ((batch.responses == self.tokenizer.eos_token_id) & batch.live).any(1)
        score = utility - beta * fixed - options.missing_eos_penalty * ~ended
        charges = -beta * price[:, None] * ESTIMATORS[options.kl_estimator](rolled.log_ratio)
        rewards = charges.scatter_add(1, wide.sum(1, keepdim=True) - 1, score[:, None])
        if options.whiten_rewards:
            return masked_whiten(rewards, wide, shift_mean=False, ddof=1)
        return rewards

    def advantage(self, rolled: Rollout, rewards: torch.Tensor) -> Advantages:
        """Generalised advantages, whitened over tokens, and value targets one place further."""
        settings, live = self.settings, rolled.batch.live
        lam, wide = 0.95 if settings.lam is None else settings.lam, one_beyond(live)
        found = gae(rewards, rolled.reading.value * wide, settings.gamma, lam, wide)
        return Advantages(masked_whiten(found.advantages, live, ddof=1), found.returns)

    def update(self, rolled: Rollout, found: Advantages) -> dict[str, float]:
        """Epochs of clipped steps; `losses` meets the place beyond the end as one of `NO_TOKEN`."""
        live, reading = rolled.batch.live, rolled.reading
        reading = reading._replace(log_prob=reading.log_prob.masked_fill(~live, NO_TOKEN))
        batch = replace(rolled.batch, live=one_beyond(live))
        return super().update(rolled._replace(batch=batch, reading=reading), found)

    def losses(
        self,
        now: Reading,
        before: Reading,
        found: Advantages,
        live: Bool[torch.Tensor, "batch time"],
    ) -> tuple[Surrogate, Float[torch.Tensor, ""]]:
        """Of the policy, a mean over tokens; of values, over tokens and the places beyond."""
        tokens = live & (before.log_prob < NO_TOKEN)
        surrogate, _ = super().losses(now, before, found, tokens)
        _, value = super().losses(now, before, found, live)
        return surrogate, value


def actor_with(model: Any, value_model: Any, *, temperature: float) -> Actor:
    """Copies of a language model and of a critic, all of both to be trained, in float32 at least.

    value_model: a sequence classifier of transformers with one label, e.g. the reward model.
    """
    policy, values = (
        at_least_float32(deepcopy(x)).requires_grad_(True) for x in (model, value_model)
    )
    actor = Actor(policy, temperature=temperature, critic=values.base_model)
    actor.value_head = values.score
    return actor


def one_beyond(live: Bool[torch.Tensor, "batch time"]) -> Bool[torch.Tensor, "batch time"]:
    """What is live, and the place after it where there is one."""
    return live | torch.nn.functional.pad(live[:, :-1], (1, 0))
