"""What the GPU benchmark runs on: random weights of published shapes, and words for tokens."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from llm_bridge.actors import make_actor
from llm_bridge.lm.checkpoints import fuse_activations
from llm_bridge.lm.loading import quiet
from llm_bridge.lm.sampling import Sampling
from llm_bridge.lm.tokens import Batch
from llm_bridge.plans.architectures import PUBLISHED
from llm_bridge.ppo import Trainer
from llm_bridge.rewards.models import RewardModel
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.settings import Settings
from theory.presets import vanilla

HEADS, PROMPTS, REFERENCES = 10, 32, 8
TEMPERATURE, BETA, RATE = 0.7, 0.05, 3e-6
SMALL = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 1, "max_position_embeddings": 64,
    "pad_token_id": 60, "bos_token_id": 60, "eos_token_id": 60,
}  # fmt: skip


def small_gpt2() -> GPT2Config:
    return GPT2Config(
        vocab_size=61, n_positions=64, n_embd=32, n_layer=2, n_head=4, bos_token_id=60,
        eos_token_id=60, pad_token_id=60,
    )  # fmt: skip


def small_gemma() -> Any:
    return PUBLISHED["google/gemma-2b"](**SMALL, head_dim=16)


TINY: dict[str, Callable[[], Any]] = {
    "gpt2, tiny": small_gpt2,
    "llama, tiny": lambda: LlamaConfig(**SMALL),
    "gemma, tiny": small_gemma,
}


@dataclass(frozen=True)
class Scale:
    """Sizes of a run.

    texts: numbers of texts and their tokens, at which the reward trunk is timed; warm, steps,
    watched: PPO steps before, in, and beside the timing; populations: policies, and how many of
    them share a pass.
    """

    policy: Callable[[], Any] = PUBLISHED["gpt2"]
    reward: Callable[[], Any] = PUBLISHED["google/gemma-2b"]
    precision: str = "bfloat16"
    dtype: str = "bfloat16"
    batch: int = 128
    epochs: int = 4
    prompt: int = 5
    response: int = 10
    warm: int = 3
    steps: int = 10
    watched: int = 5
    texts: tuple[tuple[int, int], ...] = (
        (128, 15), (256, 15), (512, 15), (1024, 15), (8, 512), (32, 512), (128, 512),
    )  # fmt: skip
    parity: dict[str, Callable[[], Any]] = field(
        default_factory=lambda: {**TINY, "gpt2": PUBLISHED["gpt2"]}
    )
    matrix: int = 8192
    modes: tuple[str, ...] = ("default", "reduce-overhead")
    populations: tuple[tuple[int, int], ...] = ((1, 1), (8, 8), (32, 16), (80, 16))
    population_steps: int = 2
    compare_steps: int = 10
    compare_batch: int = 64
    embedded_steps: int = 20

    def settings(self, **changes: Any) -> Settings:
        """Of PPO."""
        return Settings(**{
            "batch": self.batch, "epochs": self.epochs, "minibatches": 1, "learning_rate": RATE,
            "lam": 0.95, "precision": self.precision, **changes,
        })  # fmt: skip


FULL = Scale()
LITTLE = Scale(
    policy=small_gpt2, reward=small_gemma, batch=8, epochs=2, warm=1, steps=2, watched=1,
    texts=((8, 15), (4, 32)), parity=TINY, matrix=256, modes=(), populations=((1, 1), (3, 2)),
    population_steps=1, compare_steps=2, compare_batch=16, embedded_steps=1,
)  # fmt: skip


@dataclass(frozen=True)
class Context:
    """Where and how large. tflops: peak speed of the device, or None where it is not known."""

    device: torch.device
    scale: Scale
    tflops: float | None
    scratch: Path

    def utilisation(self, flops: float, seconds: float) -> float | None:
        """Share of the peak."""
        if self.tflops is None:
            return None
        return round(flops / seconds / self.tflops / 1e12, 4)


def make_tokenizer(words: int) -> PreTrainedTokenizerFast:
    """Words "0", "1", ... are their own tokens; the last is the end, and pads."""
    found = Tokenizer(models.WordLevel({str(i): i for i in range(words)}, unk_token="0"))
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    end = str(words - 1)
    return PreTrainedTokenizerFast(
        tokenizer_object=found, eos_token=end, pad_token=end, padding_side="left"
    )


def built(config: Any, device: torch.device, *, dtype: str = "float32", trunk: bool = False) -> Any:
    """Random weights, made where they are to be, in evaluation mode and frozen."""
    kind = AutoModel if trunk else AutoModelForCausalLM
    with torch.random.fork_rng(), torch.device(device), quiet():
        torch.manual_seed(0)
        model = kind.from_config(config, dtype=getattr(torch, dtype))
    return fuse_activations(model).eval().requires_grad_(False)


def sharp(model: Any, factor: float = 3.0) -> Any:
    """With larger weights, so that probabilities are far from equal."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)
    return model


def texts(rows: int, length: int, words: int, device: torch.device, *, prompt: int = 5) -> Batch:
    """Random tokens, all live."""
    made = torch.randint(words - 1, (rows, length), generator=torch.Generator().manual_seed(0))
    live = torch.ones_like(made, dtype=torch.bool)
    parts = made[:, :prompt], live[:, :prompt], made[:, prompt:], live[:, prompt:]
    return Batch(*parts).to(device)


def reward_model(config: Any, context: Context, tokenizer: Any) -> RewardModel:
    """A frozen trunk with random heads."""
    trunk = built(config, context.device, dtype=context.scale.dtype, trunk=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return RewardModel(trunk, tokenizer, heads=HEADS, limit=64).eval().requires_grad_(False)


def asked_of(words: int, length: int) -> tuple[list[str], list[list[str]]]:
    """Prompts of random words, and reference responses to each."""
    rows = np.random.default_rng(0).integers(words - 1, size=(PROMPTS, length + REFERENCES))
    asked = [" ".join(map(str, row[:length])) for row in rows]
    return asked, [[f" {word}" for word in row[length:]] for row in rows]


def make_trainer(
    reference: Any,
    tokenizer: Any,
    score: Callable[..., Any],
    settings: Settings,
    *,
    prompt: int,
    response: int,
) -> Trainer:
    """Vanilla PPO on prompts of so many random words."""
    asked, given = asked_of(reference.config.vocab_size, prompt)
    normaliser = Normaliser.fit(score, dict(zip(asked, given, strict=True)))
    return Trainer(
        make_actor(reference, settings, temperature=TEMPERATURE, seed=0), reference, tokenizer,
        normaliser, None, asked, vanilla(BETA), settings,
        sampling=Sampling(response, temperature=TEMPERATURE), limit=prompt + response, seed=0,
    )  # fmt: skip


def clean(device: torch.device) -> None:
    """Give memory back, and start its peak anew."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
