"""The embedded default: a tokenizer and a language model made here, in seconds, from a grammar."""

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from llm_bridge.embedded.language import WORDS
from llm_bridge.lm.checkpoints import fuse_activations
from llm_bridge.lm.loading import build

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
SIZES = {"tiny": (2, 64, 4), "small": (3, 96, 4), "medium": (4, 128, 8)}
"""Layers, width and attention heads: about 0.1, 0.35 and 0.8 million parameters."""
CONTEXT = 64


def build_tokenizer(words: Iterable[str] = WORDS) -> PreTrainedTokenizerFast:
    """One token a word; prompts open with <bos>."""
    vocabulary = {word: index for index, word in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", vocabulary["<bos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>",
        unk_token="<unk>", model_max_length=CONTEXT,
    )  # fmt: skip


def build_model(
    size: str, tokenizer: PreTrainedTokenizerFast, dtype: torch.dtype = torch.float32
) -> GPT2LMHeadModel:
    """Make a GPT-2 of random weights, drawn in float64 and rounded to the dtype.

    They are the same bits on every processor, which those drawn in float32 are not.
    """
    config = build_config(size, tokenizer)
    drawn = build(AutoModelForCausalLM, config, torch.float64)
    return fuse_activations(drawn.to(dtype))


def build_config(size: str, tokenizer: PreTrainedTokenizerFast) -> GPT2Config:
    """A GPT-2 without dropout."""
    layers, width, heads = SIZES[size]
    return GPT2Config(
        vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=width, n_layer=layers, n_head=heads,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
