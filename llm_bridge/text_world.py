"""The world of texts: a language model as policy, reward models that learnt from its samples."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from llm_bridge.actor import Actor
from llm_bridge.ensembles import EnsembleSettings, hash_seed
from llm_bridge.language import TOPICS, Corpus, Gold, prompt
from llm_bridge.normalise import Normaliser
from llm_bridge.pairs import Labelling, respond, sample_pairs
from llm_bridge.ppo import Trainer
from llm_bridge.reward_models import RewardTraining
from llm_bridge.sampling import Sampling
from llm_bridge.settings import Settings
from llm_bridge.sft import FineTuning, fine_tune
from llm_bridge.tiny import CONTEXT, SIZES, build_model, build_tokenizer
from theory import checks
from theory.files import output_folder, write_text
from theory.objective import Objective

DONE = "done"
"""File that says that a folder of the cache is complete."""
TEXTS = 20_000
"""Texts that the embedded language model learns from."""


def default_cache() -> Path:
    """Where trained models are kept: $RLHF_RISK_CACHE, or a folder of the user's cache."""
    named = os.environ.get("RLHF_RISK_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "rlhf-risk"


@dataclass(frozen=True)
class TextWorld:
    """The embedded language of `llm_bridge.language`, its models made here and cached.

    A seed is a preference data set, its reward models, and a training of the policy.

    size:       of the language model, see `llm_bridge.tiny.SIZES`.
    sft:        how it is trained on the corpus; corpus, gold: what is written, and what is wanted.
    labelling:  how many pairs of its own responses are compared, and how.
    ensemble:   which reward models learn from them.
    references: responses of the reference for each prompt, to centre scores on.
    """

    size: str = "tiny"
    corpus: Corpus = Corpus()
    gold: Gold = Gold()
    sft: FineTuning = FineTuning()
    labelling: Labelling = Labelling(3000)
    ensemble: EnsembleSettings = EnsembleSettings(training=RewardTraining(epochs=2))
    references: int = 64
    sampling: Sampling = Sampling()
    cache: Path = field(default_factory=default_cache, compare=False, repr=False)

    def __post_init__(self) -> None:
        checks.one_of("size", self.size, SIZES)
        checks.positive("references", self.references)

    @property
    def name(self) -> str:
        """As quoted in records."""
        return f"text, {self.size}"

    @property
    def prompts(self) -> list[str]:
        """One a topic."""
        return [prompt(topic) for topic in TOPICS]

    def policy(self) -> tuple[Any, Any]:
        """The fine-tuned language model, which is also the reference, and its tokenizer."""
        return _policy(self)

    def normaliser(self, seed: int) -> Normaliser:
        """Reward models of one preference data set, centred on responses of the reference."""
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
        """See `theory.experiment.World`; one seed after the other."""
        for seed in seeds:
            trainer = self.trainer(objective, optimiser, seed)
            for step, row, rolled in trainer.run(steps):
                if step == 1 or step % evaluate_every == 0 or step == steps:
                    text = f"{rolled.prompts[0]} {rolled.responses[0]}"
                    yield pd.DataFrame([{"seed": seed, "step": step, **row, "text": text}])

    def trainer(self, objective: Objective, settings: Settings, seed: int) -> Trainer:
        """PPO on a copy of the reference."""
        model, tokenizer = self.policy()
        actor = Actor(
            deepcopy(model).requires_grad_(True), temperature=settings.sampling.temperature
        )
        return Trainer(
            actor, model, tokenizer, self.normaliser(seed), self.gold.all, self.prompts,
            objective, settings, limit=CONTEXT, seed=hash_seed(seed, "ppo"),
        )  # fmt: skip


@lru_cache(maxsize=2)
def _policy(world: TextWorld) -> tuple[Any, Any]:
    described = (world.size, world.corpus, world.sft, TEXTS)
    folder = _folder(world, world.size, described)
    if not (folder / DONE).exists():
        tokenizer, rng = build_tokenizer(), np.random.default_rng(0)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = build_model(world.size, tokenizer)
        texts = world.corpus.write(TEXTS, rng)
        fine_tune(model, tokenizer, texts, world.sft, rng=rng, limit=CONTEXT)
        output_folder(folder)
        with _quiet():
            model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_text(folder / DONE, repr(described))
    with _quiet():
        model = AutoModelForCausalLM.from_pretrained(folder).eval().requires_grad_(False)
        return model, AutoTokenizer.from_pretrained(folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars, which are longer than what they show."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _folder(world: TextWorld, kind: str, described: Any) -> Path:
    """A place in the cache for what has this description."""
    key = hashlib.sha256(repr(described).encode()).hexdigest()[:12]
    return world.cache / f"{kind}-{key}"


@lru_cache(maxsize=4)
def _normaliser(world: TextWorld, seed: int) -> Normaliser:
    model, tokenizer = world.policy()
    generator = torch.Generator().manual_seed(hash_seed(seed, "pairs"))
    limit = CONTEXT - world.sampling.tokens

    def responses(prompts: Sequence[str]) -> list[str]:
        return respond(model, tokenizer, prompts, world.sampling, limit=limit, generator=generator)

    rng = np.random.default_rng([seed, 3])
    asked = [world.prompts[i] for i in rng.integers(len(world.prompts), size=world.labelling.pairs)]
    pairs = sample_pairs(
        responses(asked), responses(asked), asked, world.gold.all, world.labelling, rng=rng
    )
    folder = _folder(world, "rewards", (replace(world, references=1), seed))
    if (folder / DONE).exists():
        ensemble = world.ensemble.load(folder, model, tokenizer, limit=CONTEXT)
    else:
        ensemble = world.ensemble.train(model, tokenizer, pairs, limit=CONTEXT, seed=seed)
        ensemble.save(output_folder(folder))
        write_text(folder / DONE, repr((world, seed)))
    references = {p: responses([p] * world.references) for p in world.prompts}
    return Normaliser.fit(ensemble, references)
