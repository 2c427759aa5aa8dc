"""A world whose policies are trained as populations: one reward model each, several trials."""

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from llm_bridge.data.pairs import Checked, Judge
from llm_bridge.evaluations import Row, evaluated
from llm_bridge.learner import Learner
from llm_bridge.lm.stacked_actor import StackedActor
from llm_bridge.population import Population, Trained
from llm_bridge.provenance import keep
from llm_bridge.rollout import Rollout
from llm_bridge.seeds import hash_seed
from llm_bridge.settings import Settings
from llm_bridge.states import StateFile
from llm_bridge.text_world import TextWorld, slug
from theory import checks
from theory.errors import InputError
from theory.fingerprint import stamp
from theory.objective import Objective
from theory.presets import vanilla
from theory.utilities import Member


class Judgement(NamedTuple):
    """A policy by its responses: their means, and the standard error of the first.

    The prompts are the same for all, so that the error is of responses to given prompts.
    """

    judged_gold: float = math.nan
    judged_error: float = math.nan
    judged_proxy: float = math.nan
    judged_kl: float = math.nan


def judgement(learner: Learner, parts: Sequence[Rollout], gold: Judge | None) -> Judgement:
    """Of some rollouts of one policy."""
    prompts = [prompt for part in parts for prompt in part.prompts]
    texts = [text for part in parts for text in part.responses]
    true = pd.Series(
        np.full(len(texts), np.nan) if gold is None else Checked(gold, "gold")(prompts, texts)
    )
    spread = true - true.groupby(prompts).transform("mean")
    error = np.sqrt((spread**2).sum() / max(1, len(texts) - len(set(prompts))) / len(texts))
    proxy = torch.cat([learner.shaper.utility(part.scores, part.places) for part in parts])
    kl = torch.cat([part.log_ratio.sum(1) for part in parts])
    told = (float(x.double().mean()) for x in (proxy, kl))
    return Judgement(float(true.mean()), float(error), *told)


@dataclass(frozen=True)
class PopulationWorld:
    """Policies of one preference data set: for each member of a reward ensemble, some trials.

    Seed s is trial s % trials of member s // trials: an objective on a `Member` is given that one.
    Whatever was trained as one program, a policy's rows depend on its seed alone, but for the
    rounding of sums.

    world:  of texts. data: seed of its preference data. judged: responses by which a policy is
            judged at the end. group: policies that share a pass, see `Population`.
    states: folder of the states of trainings, to go on from where they were cut off, and to more
            steps; None keeps none. policies: folder for trained policies, likewise.
    accept_code: see `TextWorld`.
    """

    world: TextWorld
    trials: int = 4
    data: int = 0
    judged: int = 512
    group: int | None = field(default=None, compare=False, repr=False)
    states: Path | None = field(default=None, compare=False, repr=False)
    policies: Path | None = field(default=None, compare=False, repr=False)
    accept_code: bool = field(default=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        checks.positive("trials", self.trials)
        checks.positive("judged", self.judged)

    @property
    def name(self) -> str:
        """As quoted in records."""
        return self.world.name

    @property
    def commits(self) -> dict[str, str]:
        """See `TextWorld`."""
        return self.world.commits

    @property
    def code(self) -> str:
        """See `TextWorld`."""
        return stamp(type(self), self.world, self.world.source, self.world.ensemble)

    def train(
        self,
        objective: Objective,
        optimiser: Settings,
        seeds: Sequence[int],
        *,
        steps: int,
        evaluate_every: int,
    ) -> Iterator[pd.DataFrame]:
        """See `theory.experiment.World`; all seeds as one program.

        The last rows hold each policy's `Judgement`. A policy that diverged says so in `stopped`,
        and has no numbers after that.
        """
        made = self.population(objective, optimiser, seeds)
        state = self._state_file(objective, optimiser, seeds)

        def described(step: int, done: dict[int, Trained]) -> list[Row]:
            blank = dict.fromkeys(next(iter(done.values())).row, math.nan) if done else {}
            return [
                {
                    **self._labels(seed), "step": step, **(done[i].row if i in done else blank),
                    **Judgement()._asdict(), "stopped": made.stopped.get(i, ""),
                    "diverged": i in made.stopped or bool(made.learners[i].diverged),
                }
                for i, seed in enumerate(seeds) if done
            ]  # fmt: skip

        def judged(rows: list[Row]) -> list[Row]:
            found = self.judge(made)
            return [{**row, **found.get(i, Judgement())._asdict()} for i, row in enumerate(rows)]

        yield from evaluated(
            made, described, steps=steps, every=evaluate_every, state=state,
            device=made.actor.device, scheduled=optimiser.scheduled, close=judged,
        )  # fmt: skip
        if self.policies is not None:
            for place, seed in enumerate(seeds):
                folder = self.policies / f"{slug(objective)}-{seed}"
                save = partial(made.save_policy, place=place)
                keep(folder, save, made.learners[place], seed=seed, world=self)

    def population(
        self, objective: Objective, settings: Settings, seeds: Sequence[int]
    ) -> Population:
        """PPO on adapters of a copy of the reference. Raises `InputError` without adapters."""
        if settings.lora is None or settings.critic != "shared":
            raise InputError(
                "ppo", "low-rank adapters and a shared critic for a population",
                f"lora {settings.lora}, critic {settings.critic}", "set --adapter-rank",
            )  # fmt: skip
        world, normaliser = self.world, self.world.normaliser(self.data)
        model, tokenizer = world.policy()
        actor = StackedActor(
            deepcopy(model), settings.lora, [hash_seed(seed, "adapter") for seed in seeds],
            temperature=world.sampling.temperature, precision=settings.precision,
        )  # fmt: skip
        learners = [
            Learner(
                normaliser, world.prompts, self.own(objective, seed), settings,
                sampling=world.sampling, seed=hash_seed(seed, "ppo"),
                label=f"{objective.name or objective}, seed {seed}",
            )
            for seed in seeds
        ]  # fmt: skip
        return Population(
            actor, tokenizer, normaliser, world.gold, learners, limit=world.limit, group=self.group
        )

    def own(self, objective: Objective, seed: int) -> Objective:
        """The objective of one seed, which rewards its own member where it rewards one."""
        if not isinstance(objective.utility, Member):
            return objective
        return replace(objective, utility=Member(seed // self.trials))

    def reference(self, settings: Settings, times: int) -> pd.DataFrame:
        """The reference, judged again and again: its spread is the noise of judging."""
        made = self.population(vanilla(), settings, range(times))
        return pd.DataFrame([judged._asdict() for judged in self.judge(made).values()])

    @torch.no_grad()
    def judge(self, made: Population) -> dict[int, "Judgement"]:
        """Policies by responses to all prompts in turn, of random numbers of their own."""
        asked = (self.world.prompts * (self.judged // len(self.world.prompts) + 1))[: self.judged]
        size, found = made.settings.batch, {}
        for group in made.groups():
            draws = [made.learners[i].generator for i in group]
            parts: list[list[Rollout]] = [[] for _ in group]
            for start in range(0, len(asked), size):
                some = asked[start : start + size]
                uniforms = torch.cat([self.world.sampling.uniforms(len(some), g) for g in draws])
                for own, rolled in zip(
                    parts, made.respond(group, some * len(group), uniforms), strict=True
                ):
                    own.append(rolled)
            for i, own in zip(group, parts, strict=True):
                found[i] = judgement(made.learners[i], own, self.world.gold)
        return found

    def _labels(self, seed: int) -> dict[str, int]:
        return {"seed": seed, "member": seed // self.trials, "trial": seed % self.trials}

    def _state_file(
        self, objective: Objective, settings: Settings, seeds: Sequence[int]
    ) -> StateFile | None:
        if self.states is None:
            return None
        of = (self, objective, settings, list(seeds))
        return StateFile.within(self.states, "population", of, self.code, accept=self.accept_code)
