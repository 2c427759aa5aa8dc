"""Many low-rank adapters of one frozen model, read and trained in one pass."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from llm_bridge.lm.adapter_files import load_adapter, save_adapter
from llm_bridge.lm.head import product_dtype, wide
from llm_bridge.lm.initial import adapter
from llm_bridge.lm.lora import Lora, linear_layers
from llm_bridge.lm.low_rank import adapted_product
from theory import checks
from theory.errors import InputError

STATES = {"cpu": 2**22}
"""Numbers of hidden states, over all layers, that a pass should hold, by device: more is no faster
on a processor, whose caches they leave."""
STATES_ELSEWHERE = 2**26
"""About 9 GB of activations in float32."""
Members = slice | Sequence[int]


class StackedLora(torch.nn.Module):
    """P adapters: x_i W + b + (alpha / rank) x_i A_i B_i for the rows x_i of member i [hu2021].

    model:    of transformers; it is frozen, and from now on reads P n rows, the first n under the
              first member, the next n under the second, and so on.
    settings: of all members.
    seeds:    one a member: it starts as `Lora.attach(model, name, seed=seed)` would.

    The members that read now are `reading`, None under `off`.

    The parameters are A, `down[layer]`, (P, in, rank), and B, `up[layer]`, (P, rank, out), float32
    or the model's precision where that is more; products are in the precision of the model, or that
    of autocast. Members are independent: what one reads changes nothing of another, and updates by
    element, as Adam's, keep them so. Raises `InputError` for targets that the model has not, and
    when rows cannot be shared out evenly.
    """

    def __init__(self, model: Any, settings: Lora, seeds: Sequence[int]) -> None:
        super().__init__()
        checks.positive("members", len(seeds))
        self.settings, self.members = settings, len(seeds)
        self._config = settings.config(model)
        self._config.base_model_name_or_path = model.config.name_or_path
        self._per_token = model.config.hidden_size * model.config.num_hidden_layers
        self._layers = _adapted_layers(model, settings)
        if any("forward" in vars(layer) for layer in self._layers.values()):
            raise InputError("model", "without stacked adapters", "one that has some", "remove()")
        self.reading: Members | None = slice(None)
        model.requires_grad_(False)
        started = [_started(self._layers, settings.rank, seed) for seed in seeds]
        self.down, self.up = (
            torch.nn.ParameterDict({
                _key(name): torch.stack([own[name][side] for own in started])
                for name in self._layers
            })
            for side in (0, 1)
        )  # fmt: skip
        for name, layer in self._layers.items():
            layer.forward = partial(self._read, _key(name), layer, layer.forward)

    @staticmethod
    def from_pretrained(model: Any, folders: Sequence[Path]) -> "StackedLora":
        """Adapters as peft saves them, one folder a member.

        Raises `InputError` for adapters that differ in rank, scale, dropout or layers, that are
        more than two matrices a layer, or of another model.
        """
        states = [load_adapter(folder) for folder in folders]
        checks.positive("folders", len(states))
        settings = states[0][0]
        for folder, (other, _) in zip(folders, states, strict=True):
            if other != settings:
                raise InputError("folders", f"of one kind, {settings}", f"{other} in {folder}")
        stack = StackedLora(model, settings, range(len(folders)))
        for member, (_, state) in enumerate(states):
            stack.load_member_state(member, state)
        return stack

    def save_pretrained(self, folder: Path, member: int) -> None:
        """One member as peft saves it: `PeftModel.from_pretrained(model, folder)` loads it."""
        save_adapter(folder, self._config, self.member_state(member))

    def remove(self) -> None:
        """Make the model what it was, though frozen."""
        for layer in self._layers.values():
            del layer.forward

    @contextmanager
    def off(self) -> Iterator[None]:
        """The model below the adapters, for any number of rows, for the time being."""
        with self._as(None):
            yield

    @contextmanager
    def only(self, members: Members) -> Iterator[None]:
        """Rows are of these members alone, in this order, for the time being.

        Gradients are added where the members' own are, whenever they are computed; with activation
        checkpointing that must be within the context.
        """
        with self._as(members):
            yield

    def groups(self, tokens: int) -> list[slice]:
        """Members that should share a pass, if each reads so many tokens in it."""
        device = next(self.parameters()).device.type
        most = STATES.get(device, STATES_ELSEWHERE) // (self._per_token * max(tokens, 1))
        count = math.ceil(self.members / min(max(most, 1), self.members))
        ends = [round(part * self.members / count) for part in range(count + 1)]
        return [slice(*both) for both in pairwise(ends)]

    def member_state(self, member: int) -> dict[str, torch.Tensor]:
        """A copy of one member's matrices, in peft's names and shapes: (rank, in), (out, rank)."""
        return {
            f"{name}.{matrix}.weight": stack[_key(name)]
            .detach()[member]
            .T.clone(memory_format=torch.contiguous_format)
            for name in self._layers
            for matrix, stack in (("lora_A", self.down), ("lora_B", self.up))
        }

    @torch.no_grad()
    def load_member_state(self, member: int, state: Mapping[str, torch.Tensor]) -> None:
        """Put the matrices of `member_state` in place.

        Raises `InputError` where names or shapes are others.
        """
        expected = {name: weight.shape for name, weight in self.member_state(member).items()}
        found = {name: weight.shape for name, weight in state.items()}
        if found != expected:
            apart = sorted(dict(found.items() ^ expected.items()))
            raise InputError(
                "state", "of this model's layers and rank",
                f"others, {len(apart)} in all, among them {apart[0]}",
            )  # fmt: skip
        for name in self._layers:
            self.down[_key(name)][member] = state[f"{name}.lora_A.weight"].T
            self.up[_key(name)][member] = state[f"{name}.lora_B.weight"].T

    @contextmanager
    def _as(self, members: Members | None) -> Iterator[None]:
        before, self.reading = self.reading, members
        try:
            yield
        finally:
            self.reading = before

    def _read(self, key: str, layer: Any, base: Any, x: torch.Tensor) -> torch.Tensor:
        """The forward pass of an adapted layer."""
        if self.reading is None:
            return base(x)
        down, up = self.down[key], self.up[key]
        if self.reading != slice(None):
            down, up = down[self.reading], up[self.reading]
        if len(x) % len(down):
            raise InputError("rows", f"a multiple of the {len(down)} members that read", len(x))
        weight = _matrix(layer)
        dtype = product_dtype(weight)
        return adapted_product(
            x.to(dtype), weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype),
            down.to(dtype), up.to(dtype), scale=self.settings.alpha / self.settings.rank,
            dropout=self.settings.dropout if layer.training else 0.0,
        )  # fmt: skip


def stack_of(model: Any) -> StackedLora | None:
    """The stacked adapters that a model reads with."""
    for layer in model.modules():
        forward = vars(layer).get("forward")
        owner = getattr(getattr(forward, "func", None), "__self__", None)
        if isinstance(owner, StackedLora):
            return owner
    return None


def _adapted_layers(model: Any, settings: Lora) -> dict[str, Any]:
    """By name, in the order of the model."""
    targets = settings.targeted(model)
    layers = linear_layers(model).items()
    return {name: layer for name, layer in layers if name.rpartition(".")[2] in targets}


def _started(
    layers: Mapping[str, Any], rank: int, seed: int
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """A and B of a member by layer, those of `Lora.attach`."""
    generator, made = torch.Generator().manual_seed(seed), {}
    for name, layer in layers.items():
        width, out = _matrix(layer).shape
        kept = {"dtype": wide(layer.weight.dtype), "device": layer.weight.device}
        down = adapter(width, rank, generator=generator).T.to(**kept)
        made[name] = down, torch.zeros(rank, out, **kept)
    return made


def _key(name: str) -> str:
    """Names of parameters have no dots."""
    return name.replace(".", "/")


def _matrix(layer: Any) -> torch.Tensor:
    """W of x W, (in, out): GPT-2 keeps it so, `torch.nn.Linear` the other way round."""
    return layer.weight if isinstance(layer, Conv1D) else layer.weight.T
