"""What a model is made of, known from its configuration: nothing is loaded, nothing downloaded."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    GPTJConfig,
    LlamaConfig,
)

from llm_bridge.arithmetic import DTYPES
from llm_bridge.lm.checkpoints import fuse_activations
from llm_bridge.lm.loading import build, load_config
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.snapshots import snapshot
from theory import checks
from theory.errors import InputError

_LLAMA_3 = partial(
    LlamaConfig, vocab_size=128_256, intermediate_size=14_336, num_key_value_heads=8,
    max_position_embeddings=8192,
)  # fmt: skip
_LLAMA_2 = partial(LlamaConfig, max_position_embeddings=4096)
_LLAMA_2_13B = partial(
    _LLAMA_2, hidden_size=5120, intermediate_size=13_824, num_hidden_layers=40,
    num_attention_heads=40,
)  # fmt: skip
_GEMMA_2B = partial(
    GemmaConfig, hidden_size=2048, intermediate_size=16_384, num_hidden_layers=18,
    num_attention_heads=8, num_key_value_heads=1,
)  # fmt: skip
PUBLISHED: dict[str, Callable[[], Any]] = {
    "gpt2": GPT2Config,
    "gpt2-medium": partial(GPT2Config, n_embd=1024, n_layer=24, n_head=16),
    "EleutherAI/gpt-j-6B": GPTJConfig,
    "google/gemma-2b": _GEMMA_2B,
    "google/gemma-2b-it": _GEMMA_2B,
    "google/gemma-7b": GemmaConfig,
    "google/gemma-7b-it": GemmaConfig,
    "huggyllama/llama-7b": LlamaConfig,
    "meta-llama/Llama-2-7b-hf": _LLAMA_2,
    "meta-llama/Llama-2-7b-chat-hf": _LLAMA_2,
    "meta-llama/Llama-2-13b-hf": _LLAMA_2_13B,
    "meta-llama/Llama-2-13b-chat-hf": _LLAMA_2_13B,
    "meta-llama/Meta-Llama-3-8B": _LLAMA_3,
    "meta-llama/Meta-Llama-3-8B-Instruct": _LLAMA_3,
    "sfairXC/FsfairX-LLaMA3-RM-v0.1": _LLAMA_3,
}
"""Models of the papers, by their names on the hub, so that no connection is needed to plan."""


@dataclass(frozen=True, eq=False)
class Architecture:
    """A causal language model without its weights, on torch's meta device; counts are exact."""

    name: str
    config: Any

    @cached_property
    def model(self) -> Any:
        """All shapes, no numbers."""
        return self._built("float32")

    @property
    def parameters(self) -> int:
        """Of the language model; a head that is tied to the embedding counts once."""
        return _count(self.model)

    @property
    def trunk(self) -> int:
        """Parameters below the output embedding, as a reward model has them."""
        return _count(self.model.base_model)

    @property
    def body(self) -> int:
        """Parameters that multiply every token: the trunk but for embeddings, which look up."""
        modules = self.model.base_model.modules()
        return self.trunk - sum(_count(m) for m in modules if isinstance(m, torch.nn.Embedding))

    @property
    def head(self) -> int:
        """Parameters that multiply a hidden state to logits."""
        return _count(self.model.get_output_embeddings())

    @property
    def width(self) -> int:
        """Of the hidden states."""
        return int(self.config.hidden_size)

    @property
    def layers(self) -> int:
        """Of the trunk."""
        return int(self.config.num_hidden_layers)

    @property
    def words(self) -> int:
        """Rows of the output embedding."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    @property
    def cache(self) -> int:
        """Numbers of the key-value cache for each token."""
        config = self.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or self.width // config.num_attention_heads
        return 2 * self.layers * heads * size

    def adapters(self, lora: Lora | None, *, trunk: bool = False) -> int:
        """Parameters of one adapter, r (inputs + outputs) for each of its layers [hu2021]; or 0.

        trunk: for a reward model, which has no output embedding.
        """
        if lora is None:
            return 0
        model = self._built("float32")
        model = model.base_model if trunk else model
        before = _count(model)
        lora.attach(model, "plan", seed=0)
        return _count(model) - before

    def activations(self, tokens: int, *, dtype: str = "float32", lora: Lora | None = None) -> int:
        """Bytes that one text keeps in the trunk between forward and backward pass.

        Counted from what autograd saves, without gradient checkpointing; dropout keeps none.
        """
        checks.positive("tokens", tokens)
        model = self._built(dtype).eval()
        if lora is not None:
            lora.attach(model, "plan", seed=0)
        own = {_storage(p)[0] for p in model.parameters()}
        kept: dict[int, Any] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept.update([_storage(tensor)])
            return tensor

        places = torch.zeros(1, tokens, dtype=torch.long, device="meta")
        mask = torch.ones(1, 1, tokens, tokens, dtype=torch.bool, device="meta")
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = model.base_model(
                input_ids=places, position_ids=places, attention_mask=mask, use_cache=False
            )
        assert out.last_hidden_state.requires_grad
        return sum(storage.nbytes() for key, storage in kept.items() if key not in own)

    def _built(self, dtype: str) -> Any:
        checks.one_of("dtype", dtype, DTYPES)
        with torch.device("meta"):
            made = build(AutoModelForCausalLM, self.config, DTYPES[dtype])
        return fuse_activations(made)


def architecture(path: str | Path) -> Architecture:
    """Of a folder, a published model of the papers, or any other name on the hub.

    Raises `InputError` for a name that is none of these, and for what is no causal language model.
    """
    name = str(path).removeprefix("openai-community/")
    if name in PUBLISHED:
        return Architecture(name, PUBLISHED[name]())
    try:
        config = load_config(snapshot(path, weights=False))
    except InputError as error:
        argument, required, arrived, _ = error.args
        raise InputError(
            argument, required, arrived, f"known without a connection: {', '.join(PUBLISHED)}"
        ) from error
    found = Architecture(name, config)
    try:
        _ = found.model
    except ValueError as error:
        raise InputError("checkpoint", "a causal language model", f"{path} ({error})") from error
    return found


def _count(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


def _storage(tensor: torch.Tensor) -> tuple[int, Any]:
    """Identity of what holds a tensor's numbers, and the holder, which keeps the identity alive."""
    storage = tensor.untyped_storage()
    return storage._cdata, storage
