"""Where policy, prompts, preferences and true reward come from: made here, or a user's own."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoModelForCausalLM

from llm_bridge.arithmetic import DTYPES
from llm_bridge.caching import entry, mark
from llm_bridge.data.pairs import Judge, Pairs
from llm_bridge.data.reading import read_pairs, read_prompts
from llm_bridge.embedded.language import TOPICS, Corpus, Gold, prompt
from llm_bridge.embedded.pretraining import TEXTS, pretrain
from llm_bridge.embedded.tiny import SIZES, build_config, build_tokenizer
from llm_bridge.judging.named import is_published, judge_of
from llm_bridge.lm.checkpoints import fuse_activations, load_policy, load_trunk
from llm_bridge.lm.loading import load_tokenizer, load_weights
from llm_bridge.lm.sft import FineTuning
from llm_bridge.lm.snapshots import commits
from llm_bridge.plans.architectures import Architecture, architecture
from theory import checks
from theory.errors import InputError

EMBEDDED_DTYPES = ("float32", "float64")


class Source(ABC):
    """What a `TextWorld` is about; everything is loaded when it is asked for."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As quoted in records."""

    @abstractmethod
    def architectures(self) -> tuple[Architecture, list[Architecture]]:
        """Of the policy and of `rewards`, without loading them."""

    @property
    @abstractmethod
    def labels(self) -> bool:
        """Whether the true reward labels the comparisons."""

    @property
    def commits(self) -> dict[str, str]:
        """What names on a hub stand for now, as far as models go; see `snapshots.commits`."""
        return {}

    @abstractmethod
    def asked(self) -> int:
        """Number of prompts."""

    @abstractmethod
    def policy(self, cache: Path) -> tuple[Any, Any]:
        """Language model, which is also the reference, and its tokenizer."""

    @abstractmethod
    def rewards(self) -> list[tuple[Any, Any]]:
        """Models whose trunks reward models start from, and tokenizers; none for the policy's."""

    @abstractmethod
    def prompts(self, tokenizer: Any) -> list[str]:
        """What the policy is asked."""

    @abstractmethod
    def preferences(self, tokenizer: Any) -> Pairs | None:
        """Comparisons that are given, or None where the policy's responses are to be labelled."""

    @abstractmethod
    def gold(self) -> Judge | None:
        """The true reward, where there is one."""


@dataclass(frozen=True)
class Embedded(Source):
    """The language of `llm_bridge.embedded.language`, its model made here in seconds and cached.

    size: of the model, see `llm_bridge.embedded.tiny.SIZES`; corpus: what it learns from, and how
    (sft); truth: what is wanted; dtype: of all that is trained and computed, 'float32' or, at twice
    the time, 'float64', in which another processor gives the same to more digits.
    """

    size: str = "tiny"
    corpus: Corpus = Corpus()
    truth: Gold = Gold()
    sft: FineTuning = FineTuning()
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        checks.one_of("size", self.size, SIZES)
        checks.one_of("dtype", self.dtype, EMBEDDED_DTYPES)

    @property
    def name(self) -> str:
        """As quoted in records."""
        return f"text, {self.size}"

    def architectures(self) -> tuple[Architecture, list[Architecture]]:
        """Known from the size."""
        return Architecture(self.name, build_config(self.size, build_tokenizer())), []

    @property
    def labels(self) -> bool:
        """It does."""
        return True

    def asked(self) -> int:
        """One a topic."""
        return len(TOPICS)

    def policy(self, cache: Path) -> tuple[Any, Any]:
        """Trained once."""
        made_of = (self.size, self.corpus, self.sft, self.dtype)
        folder = entry(
            cache, self.size, (*made_of, TEXTS), lambda new: pretrain(new, *made_of), pretrain
        )
        model = fuse_activations(load_weights(AutoModelForCausalLM, folder, DTYPES[self.dtype]))
        return model.to(self.device).eval().requires_grad_(False), load_tokenizer(folder)

    def rewards(self) -> list[tuple[Any, Any]]:
        """None: the policy's."""
        return []

    def prompts(self, tokenizer: Any) -> list[str]:
        """One a topic."""
        return [prompt(topic) for topic in TOPICS]

    def preferences(self, tokenizer: Any) -> None:
        """None: they are sampled."""

    def gold(self) -> Judge:
        """Computed from the words."""
        return self.truth.all


@dataclass(frozen=True)
class Checkpoint(Source):
    """A user's own checkpoints and data: folders, files, or names on a hub, e.g. name@revision.

    policy_path:   a causal language model; reward_paths: others, on the trunk of each of which an
                   ensemble is trained, or none for the policy's.
    questions:     prompts themselves, or a file or data set of them, of which `count` are drawn, or
                   all where there are fewer.
    prompt_tokens: lengths at which texts that are no prompts are cut into some [banerjee2024].
    limit:         tokens of a prompt, and of a comparison; drop_bad: leave out rows beyond it, and
                   other unusable ones, with a warning rather than an error.
    judge:         the true reward: 'kindness', a published reward model, `module:function`, or
                   None.
    comparisons:   preference data; None has responses of the policy labelled by the judge.
    """

    policy_path: str
    questions: str | tuple[str, ...]
    reward_paths: tuple[str, ...] = ()
    judge: str | None = "kindness"
    comparisons: str | None = None
    count: int = 256
    prompt_tokens: tuple[int, int] = (2, 8)
    limit: int | None = None
    drop_bad: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    marks: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        checks.positive("count", self.count)
        if self.judge is None and self.comparisons is None:
            raise InputError(
                "judge", "given where there are no preference data", "neither",
                "name a judge, or a file of comparisons",
            )  # fmt: skip
        paths = (
            self.policy_path, *self.reward_paths, self.questions, self.judge, self.comparisons
        )  # fmt: skip
        object.__setattr__(self, "marks", tuple(mark(p) for p in paths if isinstance(p, str)))

    @property
    def name(self) -> str:
        """As quoted in records."""
        return Path(self.policy_path).name

    def architectures(self) -> tuple[Architecture, list[Architecture]]:
        """From configurations."""
        return architecture(self.policy_path), [architecture(p) for p in self.reward_paths]

    @property
    def labels(self) -> bool:
        """Unless comparisons are given."""
        return self.comparisons is None

    @property
    def commits(self) -> dict[str, str]:
        """Of policy, reward models and a published judge."""
        judges = [self.judge] if self.judge is not None and is_published(self.judge) else []
        return commits(self.policy_path, *self.reward_paths, *judges)

    def asked(self) -> int:
        """At most what is asked for."""
        return self.count if isinstance(self.questions, str) else len(self.questions)

    def policy(self, cache: Path) -> tuple[Any, Any]:
        """Loaded."""
        return load_policy(self.policy_path, dtype=self.dtype, device=self.device)

    def rewards(self) -> list[tuple[Any, Any]]:
        """Loaded."""
        return [load_trunk(p, dtype=self.dtype, device=self.device) for p in self.reward_paths]

    def prompts(self, tokenizer: Any) -> list[str]:
        """Distinct ones."""
        if not isinstance(self.questions, str):
            return list(dict.fromkeys(self.questions))
        rng = np.random.default_rng(0)
        found = read_prompts(
            self.questions, tokenizer=tokenizer, tokens=self.prompt_tokens, rng=rng,
            limit=self.limit, drop_bad=self.drop_bad,
        )  # fmt: skip
        distinct = list(dict.fromkeys(found))
        return [distinct[row] for row in rng.permutation(len(distinct))[: self.count]]

    def preferences(self, tokenizer: Any) -> Pairs | None:
        """Read from a file or data set."""
        if self.comparisons is None:
            return None
        return read_pairs(
            self.comparisons, tokenizer=tokenizer, limit=self.limit, drop_bad=self.drop_bad
        )

    def gold(self) -> Judge | None:
        """By name."""
        if self.judge is None:
            return None
        return judge_of(self.judge, dtype=self.dtype, device=self.device)
