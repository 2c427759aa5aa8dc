"""Low-rank adapters on a frozen model: many small models in one, or a policy and its reference."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig
from transformers.pytorch_utils import Conv1D

from llm_bridge.lm.initial import adapter
from theory import checks
from theory.errors import InputError


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters: W + (alpha / rank) B A on linear layers, W frozen [hu2021]."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: tuple[str, ...] = ()
    """Last part of the names of layers, e.g. ('q_proj', 'v_proj'); none means all linear layers but
    the output embedding."""

    def __post_init__(self) -> None:
        checks.positive("rank", self.rank)
        checks.positive_number("alpha", self.alpha)
        if not 0 <= self.dropout < 1:
            raise InputError("dropout", "in [0, 1)", self.dropout)

    def attach(self, model: Any, name: str, *, seed: int) -> None:
        """Add an adapter, which changes nothing until it is trained, and make it the active one.

        Its parameters are trainable, all others are not. Raises `InputError` for targets that the
        model has not.
        """
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")
            model.add_adapter(self.config(model), name)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in linear_layers(model):
                down = getattr(model.get_submodule(layer), "lora_A", {})
                if name in down:
                    weight = down[name].weight
                    weight.copy_(adapter(weight.shape[1], self.rank, generator=generator))

    def config(self, model: Any) -> LoraConfig:
        """The same for peft. Raises `InputError` for targets that the model has not."""
        return LoraConfig(
            r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout,
            target_modules=sorted(self.targeted(model)), task_type="CAUSAL_LM",
            fan_in_fan_out=any(isinstance(m, Conv1D) for m in model.modules()),
        )  # fmt: skip

    def targeted(self, model: Any) -> set[str]:
        """Last parts of the names of the layers that are adapted.

        Raises `InputError` for targets that the model has not.
        """
        layers = {name.rpartition(".")[2] for name in linear_layers(model)}
        for target in self.targets:
            checks.one_of("targets", target, layers)
        return set(self.targets) or layers


def linear_layers(model: Any) -> dict[str, Any]:
    """Linear layers by name, in the order of the model, but for the output embedding.

    Those below adapters of peft go by the names that they had without.
    """
    head = model.get_output_embeddings()
    return {
        name.removesuffix(".base_layer"): module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and module is not head
        and ".lora_" not in name
    }


@contextmanager
def without_adapters(model: Any) -> Iterator[Any]:
    """The model below its adapters, for the time being."""
    model.disable_adapters()
    try:
        yield model
    finally:
        model.enable_adapters()
