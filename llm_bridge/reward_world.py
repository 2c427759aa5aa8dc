"""What policies are trained in: a language model, prompts, and reward models that are made once."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm_bridge.caching import default_cache, entry
from llm_bridge.data.pairs import Checked, Judge, Labelling, Pairs, respond, sample_pairs
from llm_bridge.lm.checkpoints import context_length
from llm_bridge.lm.sampling import Sampling
from llm_bridge.rewards.ensembles import Ensemble, EnsembleSettings
from llm_bridge.rewards.fusion import Fusion
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.rewards.normalise import CENTRINGS, SMALLEST, Normaliser
from llm_bridge.seeds import hash_seed
from llm_bridge.sources import Embedded, Source
from theory import checks
from theory.errors import InputError
from theory.files import write_text
from theory.memory import Memory, identity
from theory.returned import TWO, tried
from theory.scores import NORMALISATIONS

TEXTS = "texts.json"


@dataclass(frozen=True)
class RewardWorld:
    """A language model, prompts, reward models that learn from comparisons, and a true reward.

    A seed is a preference data set and its reward models.

    source:     of models, prompts and true reward: embedded, or a user's checkpoints.
    labelling:  how many pairs of the reference's responses are compared, and how.
    ensemble:   which reward models learn from them.
    references: responses of the reference for each prompt, to centre scores on; centring: by
                'prompt', or 'global'; normalise: 'centred', as in every world, 'standardised' or
                'none', see `Normaliser`.
    sampling:   of all responses.
    cache:      folder of trained models; None for the default one.
    memory:     of the models that are loaded, which copies with other settings share.
    """

    source: Source = Embedded()
    labelling: Labelling = Labelling(3000)
    ensemble: EnsembleSettings = EnsembleSettings(training=RewardTraining(epochs=2))
    references: int = 64
    centring: str = "prompt"
    sampling: Sampling = Sampling()
    normalise: str = "centred"
    cache: Path = field(default_factory=default_cache, repr=False)
    memory: Memory = field(default_factory=Memory, compare=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.references < SMALLEST:
            raise InputError("references", f"at least {SMALLEST} for each prompt", self.references)
        checks.one_of("centring", self.centring, CENTRINGS)
        checks.one_of("normalise", self.normalise, NORMALISATIONS)

    @property
    def name(self) -> str:
        """As quoted in records."""
        return self.source.name

    @property
    def prompts(self) -> list[str]:
        """What the policy is asked."""
        made = self._source("prompts", lambda: self.source.prompts(self.policy()[1]))
        return list(made)

    @property
    def gold(self) -> Judge | None:
        """The true reward, where there is one."""
        return self._source("gold", self._gold)

    @property
    def commits(self) -> dict[str, str]:
        """What names of models on a hub stand for, from the first time that they are asked for."""
        return dict(self._source("commits", lambda: self.source.commits))

    @property
    def limit(self) -> int:
        """Tokens of prompt and response together."""
        return context_length(self.policy()[0])

    def policy(self) -> tuple[Any, Any]:
        """The language model, which is also the reference, and its tokenizer."""
        return self._source("policy", lambda: self.source.policy(self.cache))

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
        given = self._source("preferences", lambda: self.source.preferences(self.policy()[1]))
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
        return self.memory.recall(
            "ensembles", (identity(self), seed), lambda: self._ensembles(seed), size=1
        )

    def normaliser(self, seed: int) -> Normaliser:
        """All reward models of one preference data set, centred on responses of the reference."""
        return self.memory.recall(
            "normaliser", (identity(self), seed), lambda: self._normaliser(seed), size=1
        )

    def _source(self, kind: str, make: Callable[[], Any]) -> Any:
        """What comes of the source alone, made once."""
        return self.memory.recall(kind, (identity(self.source), self.cache), make)

    def _gold(self) -> Judge | None:
        """Tried on two texts."""
        gold = self.source.gold()
        if gold is None:
            return None
        tried("gold", checked := Checked(gold, "gold"), ((2 * self.prompts)[:2], TWO[1]))
        return checked

    def _ensembles(self, seed: int) -> tuple[Ensemble, ...]:
        """One on each of the source's trunks; the true reward is tried before."""
        _ = self.gold
        bases = self.source.rewards() or [self.policy()]
        return tuple(self._ensemble(seed, index, *base) for index, base in enumerate(bases))

    def _ensemble(self, seed: int, index: int, base: Any, tokenizer: Any) -> Ensemble:
        """Trained, or taken from the cache."""
        described = (
            self.source, self.labelling, self.ensemble, self.sampling, seed, index, self.commits
        )  # fmt: skip
        limit, made = context_length(base), list[Ensemble]()

        def make(folder: Path) -> None:
            pairs = self.pairs(seed)
            made.append(self.ensemble.train(base, tokenizer, pairs, limit=limit, seed=seed))
            made[0].save(folder)

        folder = entry(self.cache, "rewards", described, make, *self._makers)
        return made[0] if made else self.ensemble.load(folder, base, tokenizer, limit=limit)

    @property
    def _makers(self) -> tuple[Any, ...]:
        """Whose code decides what the cache holds of this world."""
        return RewardWorld, self.source, self.ensemble

    def _normaliser(self, seed: int) -> Normaliser:
        ensembles, size, texts = self.ensembles(seed), self.references, self._references(seed)
        references = {p: texts[i * size : (i + 1) * size] for i, p in enumerate(self.prompts)}
        score = ensembles[0] if len(ensembles) == 1 else Fusion(ensembles)
        return Normaliser.fit(score, references, centring=self.centring, normalise=self.normalise)

    def _references(self, seed: int) -> list[str]:
        """Responses of the reference to every prompt, drawn once."""
        described = (self.source, self.sampling, self.references, seed, self.commits)

        def make(folder: Path) -> None:
            prompts = [prompt for prompt in self.prompts for _ in range(self.references)]
            texts = self.respond(prompts, self.generator(seed, "references"))
            write_text(folder / TEXTS, json.dumps(texts))

        folder = entry(self.cache, "references", described, make, *self._makers)
        return list(json.loads((folder / TEXTS).read_text(encoding="utf-8")))
