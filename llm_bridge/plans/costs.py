"""Arithmetic and memory of models: 2 a parameter and token to read, 4 more to learn."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from llm_bridge.lm.lora import Lora
from llm_bridge.plans.architectures import Architecture
from theory import checks

BYTES = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}
MOMENTS = 2
"""Numbers that Adam keeps of each that is trained, in float32 at least."""
LOGIT_COPIES = 3
"""Arrays of logits and of what is computed from them that are alive at once (measured)."""


class Lengths(NamedTuple):
    """Mean tokens of a prompt and of a response, its end-of-sequence token among them."""

    prompt: float
    response: float

    @property
    def text(self) -> float:
        """Of both."""
        return self.prompt + self.response


class Memory(NamedTuple):
    """Bytes of a device at the peak of a stage.

    weights: of all models; training: gradients and moments; work: activations, logits and caches.
    """

    weights: float
    training: float
    work: float

    @property
    def peak(self) -> float:
        """All of it."""
        return sum(self)


@dataclass(frozen=True)
class Model:
    """A model in use: its architecture, adapters if it trains by them, and its numbers.

    dtype: of the weights, and of activations unless `precision` is bfloat16.
    trunk: whether it is used without its output embedding, as reward models and critics are.
    """

    architecture: Architecture
    lora: Lora | None = None
    dtype: str = "float32"
    precision: str = "float32"
    trunk: bool = False

    def __post_init__(self) -> None:
        checks.one_of("dtype", self.dtype, BYTES)

    @property
    def widened(self) -> int:
        """Bytes of a number that is trained or summed: of float32 at least."""
        return max(BYTES["float32"], BYTES[self.dtype])

    @property
    def loaded(self) -> int:
        """Parameters, adapters among them."""
        made = self.architecture
        return (made.trunk if self.trunk else made.parameters) + self.adapters

    @cached_property
    def adapters(self) -> int:
        """Parameters of one adapter, or 0."""
        return self.architecture.adapters(self.lora, trunk=self.trunk)

    @property
    def trainable(self) -> int:
        """What training moves."""
        return self.loaded if self.lora is None else self.adapters

    def weights(self) -> float:
        """Bytes, with the copies that products in bfloat16 make of wider weights."""
        cast = 2 if self.precision == "bfloat16" and BYTES[self.dtype] > 2 else 0
        return (BYTES[self.dtype] + cast) * self.loaded

    def training(self) -> float:
        """Bytes of gradients, in the dtype of the weights, and of moments."""
        return (BYTES[self.dtype] + MOMENTS * self.widened) * self.trainable

    def forward(self, tokens: float, words: float = 0) -> float:
        """FLOPs of reading tokens, and of the distributions that follow `words` of them.

        2 a parameter that multiplies: not embeddings, which look up. Attention scores are left out:
        2 x width x length a token and layer, a few per cent for lengths below the width.
        """
        made = self.architecture
        return 2 * ((made.body + self.adapters) * tokens + made.head * words)

    def learn(self, tokens: float, words: float = 0) -> float:
        """FLOPs of a forward and a backward pass: a frozen weight needs no gradient of its own."""
        if self.lora is None:
            return 3 * self.forward(tokens, words)
        return 2 * self.forward(tokens, words) + 2 * self.adapters * tokens

    def activations(self, texts: float, length: float) -> float:
        """Bytes that a batch keeps for its backward pass, without gradient checkpointing."""
        dtype = "bfloat16" if self.precision == "bfloat16" else self.dtype
        each = self.architecture.activations(math.ceil(length), dtype=dtype, lora=self.lora)
        return texts * each

    def passing(self, texts: float, length: float) -> float:
        """Bytes that a batch needs at once where nothing is kept: about those of one layer."""
        return self.activations(texts, length) / self.architecture.layers

    def logits(self, words: float) -> float:
        """Bytes of distributions over the vocabulary, in float32 at least."""
        return LOGIT_COPIES * self.widened * words * self.architecture.words

    def cache(self, tokens: float) -> float:
        """Bytes of keys and values."""
        return BYTES[self.dtype] * self.architecture.cache * tokens
