"""The world of texts: a language model as policy, reward models that learnt from its samples."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd

from llm_bridge.actors import make_actor
from llm_bridge.evaluations import Row, evaluated
from llm_bridge.ppo import Trainer
from llm_bridge.processes import ALONE, Processes
from llm_bridge.provenance import keep
from llm_bridge.reward_world import RewardWorld
from llm_bridge.rollout import Rollout
from llm_bridge.seeds import hash_seed
from llm_bridge.settings import Settings
from llm_bridge.states import StateFile
from theory.fingerprint import stamp
from theory.objective import Objective
from theory.penalties import short


@dataclass(frozen=True)
class TextWorld(RewardWorld):
    """A `RewardWorld` whose language model is trained as a policy, each seed once.

    states:     folder of the states of trainings, to go on from where they were cut off, and to
                more steps; None keeps none. policies: folder for trained policies, likewise.
    accept_code: go on from states of other code than this, which marks the rows.
    processes:  that train a policy together; the main one writes. Folders are common to all.
    """

    states: Path | None = field(default=None, compare=False, repr=False)
    policies: Path | None = field(default=None, compare=False, repr=False)
    processes: Processes = field(default=ALONE, compare=False, repr=False)
    accept_code: bool = field(default=False, compare=False, repr=False)

    @property
    def code(self) -> str:
        """What changes with the code that trains, and with versions of packages."""
        return stamp(TextWorld, type(self), self.source, self.ensemble)

    def train(
        self,
        objective: Objective,
        optimiser: Settings,
        seeds: Sequence[int],
        *,
        steps: int,
        evaluate_every: int,
    ) -> Iterator[pd.DataFrame]:
        """See `theory.experiment.World`; one seed after the other.

        With `states`, a training that was cut off goes on from its last evaluation, and one that
        had ended to more steps, to the same rows. Raises `Terminated` once all is saved where
        SIGTERM asked to stop, and `InputError` for a state that cannot be gone on with.
        """
        together = self.processes
        for seed in seeds:
            together.on_main(partial(self.normaliser, seed))
            together.agree("cache", self.normaliser(seed).offset)
            trainer = self.trainer(objective, optimiser, seed)
            state = self._state_file(objective, optimiser, seed)

            def described(step: int, row: Row, rolled: Rollout, seed: int = seed) -> list[Row]:
                text = rolled.prompts[0] + rolled.responses[0]
                return [{"seed": seed, "step": step, **row, "text": text}]

            yield from evaluated(
                trainer, described, steps=steps, every=evaluate_every, state=state,
                device=trainer.actor.device, together=together, scheduled=optimiser.scheduled,
            )  # fmt: skip
            if self.policies is not None:
                folder = self.policies / f"{slug(objective)}-{seed}"
                together.on_main(
                    partial(keep, folder, trainer.save_policy, trainer, seed=seed, world=self)
                )

    def trainer(self, objective: Objective, settings: Settings, seed: int) -> Trainer:
        """PPO on a copy of the reference."""
        model, tokenizer = self.policy()
        actor = make_actor(
            model, settings, temperature=self.sampling.temperature, seed=hash_seed(seed, "adapter")
        )
        return Trainer(
            actor, model if settings.lora is None else None, tokenizer, self.normaliser(seed),
            self.gold, self.prompts, objective, settings, sampling=self.sampling, limit=self.limit,
            seed=hash_seed(seed, "ppo"), processes=self.processes,
            label=f"{objective.name or objective}, seed {seed}",
        )  # fmt: skip

    def _state_file(self, objective: Objective, settings: Settings, seed: int) -> StateFile | None:
        if self.states is None:
            return None
        of = (self, objective, settings, seed)
        return StateFile.within(self.states, "state", of, self.code, accept=self.accept_code)


def slug(objective: Objective) -> str:
    """A folder's name, e.g. `variance-aware_PPO-0.05`."""
    name = f"{objective.name or objective}-{short(objective.strength)}"
    return re.sub(r"[^\w.-]+", "_", name)
