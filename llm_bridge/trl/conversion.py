"""Sequence classifiers, as TRL trains and takes them, to reward ensembles and back."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from llm_bridge.lm.checkpoints import context_length
from llm_bridge.lm.head import at_least_float32
from llm_bridge.lm.loading import build
from llm_bridge.lm.tokens import check_tokenizer
from llm_bridge.rewards.ensembles import Ensemble, EnsembleSettings
from llm_bridge.rewards.models import RewardModel
from llm_bridge.trl.heads import linear_score
from theory.errors import InputError


def ensemble_of(
    classifiers: Sequence[Any], tokenizer: Any, *, limit: int | None = None
) -> Ensemble:
    """One classifier with k heads, or k with one head each, as an ensemble with the same scores.

    limit: tokens of a text, or None for all that the models have positions for. A copy, in float32
    at least; its `save` keeps it, also what `with_heads` made.

    Raises `InputError` for heads that are not linear, several classifiers with several heads
    (`llm_bridge.rewards.fusion.Fusion` joins those), and a tokenizer that pads with its
    end-of-sequence token: transformers then reads the score one token before the end, in training
    too.
    """
    _check_padding(tokenizer)
    heads = [linear_score(model).out_features for model in classifiers]
    if not heads or (len(heads) > 1 and set(heads) != {1}):
        raise InputError(
            "classifiers", "one, or several with one head each", f"some with {heads} heads"
        )
    kind = "shared_trunk" if len(heads) == 1 else "independent"
    found = []
    for model, count in zip(classifiers, heads, strict=True):
        most = context_length(model) if limit is None else limit
        with torch.random.fork_rng():
            made = RewardModel(
                at_least_float32(deepcopy(model.base_model)), tokenizer, heads=count, limit=most
            )
        score = linear_score(model)
        made.head.weight.data.copy_(score.weight)
        made.head.bias.data.copy_(torch.zeros(count) if score.bias is None else score.bias)
        found.append(made)
    return Ensemble(tuple(found), EnsembleSettings(kind=kind, members=sum(heads)))


def classifiers_of(ensemble: Ensemble) -> tuple[Any, ...]:
    """Sequence classifiers with the scores of an ensemble: one a model, with as many heads.

    Their configs say `num_labels=1`, as RewardTrainer and reward functions of TRL require; of
    several heads the latter read the first alone. One with a single head is written by
    `save_pretrained` as published ones are, but transformers reads it without its bias, a constant
    that comparisons do not see.

    Raises `InputError` for kinds whose scores are more than a linear layer on a trunk, and for a
    tokenizer as `ensemble_of`.
    """
    return tuple(_classifier(model) for model in ensemble.models)


def _classifier(model: RewardModel) -> Any:
    _check_padding(model.tokenizer)
    if type(model) is not RewardModel:
        raise InputError(
            "ensemble", "of kind 'independent', 'shared_trunk' or 'heads'", type(model).__name__
        )
    config = deepcopy(model.trunk.config)
    config.num_labels = 1
    config.get_text_config().pad_token_id = model.tokenizer.pad_token_id
    with torch.random.fork_rng():
        found = build(AutoModelForSequenceClassification, config, model.trunk.dtype)
    found.score = deepcopy(model.head)
    found.base_model.load_state_dict(model.trunk.state_dict())
    return found.to(model.trunk.device).requires_grad_(True).eval()


def _check_padding(tokenizer: Any) -> None:
    check_tokenizer(tokenizer)
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise InputError(
            "tokenizer", "one that does not pad with its end-of-sequence token",
            repr(tokenizer.pad_token), "train with a padding token of its own",
        )  # fmt: skip
