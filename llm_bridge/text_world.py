"""The world of texts: a language model as policy, reward models that learnt from its samples."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from llm_bridge.actors import make_actor
from llm_bridge.caching import DONE, cached, default_cache
from llm_bridge.data.pairs import Judge, Labelling, Pairs, respond, sample_pairs
from llm_bridge.evaluations import Row, evaluated
from llm_bridge.lm.checkpoints import context_length
from llm_bridge.lm.sampling import Sampling
from llm_bridge.ppo import Trainer
from llm_bridge.processes import ALONE, Processes
from llm_bridge.provenance import keep
from llm_bridge.rewards.ensembles import Ensemble, EnsembleSettings
from llm_bridge.rewards.fusion import Fusion
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.rewards.normalise import CENTRINGS, SMALLEST, Normaliser
from llm_bridge.rollout import Rollout
from llm_bridge.seeds import hash_seed
from llm_bridge.settings import Settings
from llm_bridge.sources import Embedded, Source
from theory import checks
from theory.errors import InputError
from theory.files import output_folder, write_text
from theory.objective import Objective
from theory.penalties import short


@dataclass(frozen=True)
class TextWorld:
    """A language model, prompts, reward models that learn from comparisons, and a true reward.

    A seed is a preference data set, its reward models, and a training of the policy.

    source:     of models, prompts and true reward: embedded, or a user's checkpoints.
    labelling:  how many pairs of the reference's responses are compared, and how.
    ensemble:   which reward models learn from them.
    references: responses of the reference for each prompt, to centre scores on; centring: by
                'prompt', or 'global', see `Normaliser`.
    sampling:   of all responses.
    states:     folder of the states of trainings that are under way, to go on from; None keeps
                none. policies: folder for trained policies, likewise.
    processes:  that train a policy together; the main one writes. Folders are common to all.
    """

    source: Source = Embedded()
    labelling: Labelling = Labelling(3000)
    ensemble: EnsembleSettings = EnsembleSettings(training=RewardTraining(epochs=2))
    references: int = 64
    centring: str = "prompt"
    sampling: Sampling = Sampling()
    cache: Path = field(default_factory=default_cache, compare=False, repr=False)
    states: Path | None = field(default=None, compare=False, repr=False)
    policies: Path | None = field(default=None, compare=False, repr=False)
    processes: Processes = field(default=ALONE, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.references < SMALLEST:
            raise InputError("references", f"at least {SMALLEST} for each prompt", self.references)
        checks.one_of("centring", self.centring, CENTRINGS)

    @property
    def name(self) -> str:
        """As quoted in records."""
        return self.source.name

    @property
    def prompts(self) -> list[str]:
        """What the policy is asked."""
        return _prompts(self)

    @property
    def gold(self) -> Judge | None:
        """The true reward, where there is one."""
        return _gold(self)

    @property
    def limit(self) -> int:
        """Tokens of prompt and response together."""
        return context_length(self.policy()[0])

    def policy(self) -> tuple[Any, Any]:
        """The language model, which is also the reference, and its tokenizer."""
        return _policy(self)

    def respond(
        self, prompts: Sequence[str], generator: torch.Generator, model: Any = None
    ) -> list[str]:
        """A response to each prompt, of the reference unless another model is given."""
        reference, tokenizer = self.policy()
        return respond(
            reference if model is None else model, tokenizer, prompts, self.sampling,
            limit=self.limit, generator=generator,
        )  # fmt: skip

    def generator(self, seed: int, purpose: str) -> torch.Generator:
        """Of random numbers for one purpose."""
        return torch.Generator().manual_seed(hash_seed(seed, purpose))

    def pairs(self, seed: int, *, held_out: bool = False) -> Pairs:
        """Comparisons to learn from, or others; of given ones a tenth at least is held out."""
        given = _preferences(self)
        if given is not None:
            learnt, rest = given.split(0.1, rng=np.random.default_rng([seed, 3]))
            part = rest if held_out else learnt
            rng = np.random.default_rng([seed, 7, held_out])
            rows = rng.permutation(len(part))[: self.labelling.pairs].tolist()
            return part[rows].flipped(self.labelling.noise, rng=rng)
        rng = np.random.default_rng([seed, 6 if held_out else 3])
        rows = rng.integers(len(self.prompts), size=self.labelling.pairs).tolist()
        asked = [self.prompts[row] for row in rows]
        generator = self.generator(seed, "held out" if held_out else "pairs")
        first, second = (self.respond(asked, generator) for _ in range(2))
        assert self.gold is not None
        return sample_pairs(first, second, asked, self.gold, self.labelling, rng=rng)

    def ensembles(self, seed: int) -> tuple[Ensemble, ...]:
        """Reward models of one preference data set, on each of the source's trunks."""
        return _ensembles(self, seed)

    def normaliser(self, seed: int) -> Normaliser:
        """All reward models of one preference data set, centred on responses of the reference."""
        return _normaliser(self, seed)

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

        With `states`, a training that was cut off goes on from its last evaluation, to the same
        rows. Raises `Terminated` once all is saved where SIGTERM asked to stop.
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
                device=trainer.actor.device, together=together,
            )  # fmt: skip
            if self.policies is not None:
                folder = self.policies / f"{slug(objective)}-{seed}"
                together.on_main(
                    partial(keep, folder, trainer.save_policy, trainer, seed=seed, world=self)
                )
            if state is not None and together.main:
                state.unlink()

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
        )  # fmt: skip

    def _state_file(self, objective: Objective, settings: Settings, seed: int) -> Path | None:
        if self.states is None:
            return None
        return cached(self.states, "state", (self, objective, settings, seed)).with_suffix(".pt")


def slug(objective: Objective) -> str:
    """A folder's name, e.g. `variance-aware_PPO-0.05`."""
    name = f"{objective.name or objective}-{short(objective.strength)}"
    return re.sub(r"[^\w.-]+", "_", name)


@lru_cache(maxsize=2)
def _policy(world: TextWorld) -> tuple[Any, Any]:
    return world.source.policy(world.cache)


@lru_cache(maxsize=4)
def _prompts(world: TextWorld) -> list[str]:
    return world.source.prompts(world.policy()[1])


@lru_cache(maxsize=2)
def _preferences(world: TextWorld) -> Pairs | None:
    return world.source.preferences(world.policy()[1])


@lru_cache(maxsize=2)
def _gold(world: TextWorld) -> Judge | None:
    return world.source.gold()


@lru_cache(maxsize=1)
def _ensembles(world: TextWorld, seed: int) -> tuple[Ensemble, ...]:
    bases = world.source.rewards() or [world.policy()]
    found = []
    for index, (base, tokenizer) in enumerate(bases):
        limit = context_length(base)
        described = (world.source, world.labelling, world.ensemble, world.sampling, seed, index)
        folder = cached(world.cache, "rewards", described)
        if (folder / DONE).exists():
            ensemble = world.ensemble.load(folder, base, tokenizer, limit=limit)
        else:
            pairs = world.pairs(seed)
            ensemble = world.ensemble.train(base, tokenizer, pairs, limit=limit, seed=seed)
            ensemble.save(folder)
            write_text(folder / DONE, repr(described))
        found.append(ensemble)
    return tuple(found)


@lru_cache(maxsize=1)
def _normaliser(world: TextWorld, seed: int) -> Normaliser:
    ensembles, size, texts = world.ensembles(seed), world.references, _references(world, seed)
    references = {p: texts[i * size : (i + 1) * size] for i, p in enumerate(world.prompts)}
    score = ensembles[0] if len(ensembles) == 1 else Fusion(ensembles)
    return Normaliser.fit(score, references, centring=world.centring)


def _references(world: TextWorld, seed: int) -> list[str]:
    """Responses of the reference to every prompt, drawn once."""
    described = (world.source, world.sampling, world.references, seed)
    path = cached(world.cache, "references", described).with_suffix(".json")
    if path.exists():
        return list(json.loads(path.read_text(encoding="utf-8")))
    prompts = [prompt for prompt in world.prompts for _ in range(world.references)]
    texts = world.respond(prompts, world.generator(seed, "references"))
    output_folder(path.parent)
    write_text(path, json.dumps(texts))
    return texts
