"""Checkpoints of transformers or peft as policies, reward trunks and judges."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.activations import NewGELUActivation

from llm_bridge.arithmetic import DTYPES
from llm_bridge.judging.published_reward import PublishedReward
from llm_bridge.lm.head import check_logits
from llm_bridge.lm.loading import load_config, load_merged, load_tokenizer, load_weights
from llm_bridge.lm.snapshots import ADAPTER, snapshot
from llm_bridge.lm.tokens import check_tokenizer
from theory import checks
from theory.damage import readable
from theory.errors import InputError

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")


def load_policy(
    path: str | Path, *, dtype: str = "float32", device: str = "cpu"
) -> tuple[Any, Any]:
    """A causal language model, frozen and in evaluation mode, and its tokenizer.

    path: a folder of transformers, of a peft adapter (which is merged into its base model), or a
    name on the hub. Without a padding token, the end-of-sequence token pads: masks, not tokens, say
    here what counts.

    Raises `InputError` for what can not be found or downloaded, weights that are not safetensors or
    lack some of the model's, an architecture whose logits `llm_bridge.lm.head` does not know, and a
    tokenizer without an end-of-sequence token.
    """
    folder = snapshot(path)
    model = _load(AutoModelForCausalLM, folder, dtype, device)
    check_logits(model)
    return model, _tokenizer(folder, model)


def load_trunk(path: str | Path, *, dtype: str = "float32", device: str = "cpu") -> tuple[Any, Any]:
    """A transformer without its head, to put reward heads on, and its tokenizer.

    As `load_policy`, but for any model, a published reward model among them. Its `base_model` is
    itself, so that `llm_bridge.rewards.ensembles` takes it in place of a language model.
    """
    folder = snapshot(path)
    kind = AutoModelForCausalLM if (folder / ADAPTER).is_file() else AutoModel
    model = _load(kind, folder, dtype, device).base_model
    return model, _tokenizer(folder, model)


def load_judge(
    path: str | Path, *, dtype: str = "float32", device: str = "cpu", batch: int = 16
) -> PublishedReward:
    """A published reward model, e.g. sfairXC/FsfairX-LLaMA3-RM-v0.1, as a judge of texts.

    Raises `InputError` as `load_policy`, for an adapter, and for a model with other than one label.
    """
    folder = snapshot(path)
    if (folder / ADAPTER).is_file():
        raise InputError("judge", "whole weights", f"the adapter {folder}", "merge it first")
    labels = load_config(folder).num_labels
    if labels != 1:
        raise InputError(
            "judge", "a sequence classifier with num_labels = 1", f"{path} with {labels}",
            "a language model is no judge: its config has the default of two labels",
        )  # fmt: skip
    model = _load(AutoModelForSequenceClassification, folder, dtype, device)
    return PublishedReward(
        model, _tokenizer(folder, model), limit=context_length(model), batch=batch
    )


def context_length(model: Any) -> int:
    """Tokens that a model has positions for; `InputError` where its config does not say."""
    found = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(found, int):
        raise InputError(
            "model", "one whose config has max_position_embeddings", type(model).__name__
        )
    return found


def fuse_activations(model: Any) -> Any:
    """The model, with GPT-2's GELU computed in one operation in place of eight; it is the same."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, torch.nn.GELU(approximate="tanh"))
    return model


def _load(kind: Any, folder: Path, dtype: str, device: str) -> Any:
    checks.one_of("dtype", dtype, DTYPES)
    if (folder / ADAPTER).is_file():
        base = _load(kind, snapshot(_base(folder)), dtype, "cpu")
        model = load_merged(base, folder)
    else:
        model = fuse_activations(load_weights(kind, folder, DTYPES[dtype]))
    return model.to(device).eval().requires_grad_(False)


def _base(folder: Path) -> str:
    """What an adapter was trained on."""
    with readable(folder / ADAPTER, "checkpoint", "one that names base_model_name_or_path"):
        described = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
        return str(described["base_model_name_or_path"])


def _tokenizer(folder: Path, model: Any) -> Any:
    if not any((folder / name).is_file() for name in TOKENIZER):
        if (folder / ADAPTER).is_file():
            return _tokenizer(snapshot(_base(folder)), model)
        raise InputError(
            "tokenizer", f"in the folder of the checkpoint, as {' or '.join(TOKENIZER)}", folder,
            "write it there with tokenizer.save_pretrained",
        )  # fmt: skip
    tokenizer = load_tokenizer(folder)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise InputError("tokenizer", f"at most {rows} tokens, as the model", len(tokenizer))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    check_tokenizer(tokenizer)
    return tokenizer
