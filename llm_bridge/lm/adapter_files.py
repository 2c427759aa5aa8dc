"""Folders of adapters as peft writes and reads them."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from llm_bridge.lm.lora import Lora
from theory.damage import readable
from theory.errors import InputError
from theory.files import output_folder, write, write_text
from theory.integrity import check_sums

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What stands before the names of weights."""
PLAIN = {
    "bias": "none", "use_rslora": False, "use_dora": False, "lora_bias": False,
    "modules_to_save": None, "rank_pattern": {}, "alpha_pattern": {},
}  # fmt: skip
"""What a config must say, for its adapter to be a product of two matrices and nothing else."""


def save_adapter(folder: Path, config: LoraConfig, state: Mapping[str, torch.Tensor]) -> None:
    """An adapter that `PeftModel.from_pretrained(model, folder)` loads.

    state: (rank, in) for `<layer>.lora_A.weight` and (out, rank) for `<layer>.lora_B.weight`.
    """
    output_folder(folder)
    about = {**config.to_dict(), "inference_mode": True}
    about["target_modules"] = sorted(about["target_modules"])
    named = {PREFIX + name: weight for name, weight in state.items()}
    write(folder / WEIGHTS, partial(save_file, named, metadata={"format": "pt"}))
    write_text(folder / CONFIG, json.dumps(about, indent=2))


def load_adapter(folder: Path) -> tuple[Lora, dict[str, torch.Tensor]]:
    """Settings, and the state of `save_adapter`; the targets are the layers that have weights.

    Raises `InputError` where there is no adapter, or one that is more than two matrices a layer.
    """
    check_sums(folder, "folder")
    with readable(folder, "folder", f"one with {CONFIG} and {WEIGHTS}"):
        about = dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        found = load_file(folder / WEIGHTS)
        lora = partial(Lora, about["r"], about["lora_alpha"], about["lora_dropout"])
    for name, value in PLAIN.items():
        if about.get(name, value) not in (value, None):
            raise InputError(name, f"{value!r} in {folder / CONFIG}", repr(about[name]))
    state = {name.removeprefix(PREFIX): weight for name, weight in found.items()}
    layers = {name.removesuffix(".weight").rpartition(".")[0] for name in state}
    targets = sorted({layer.rpartition(".")[2] for layer in layers})
    return lora(tuple(targets)), state
