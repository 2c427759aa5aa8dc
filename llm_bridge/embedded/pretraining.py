"""The embedded language model, trained on texts of its own language."""

from pathlib import Path

import numpy as np
import torch

from llm_bridge.arithmetic import DTYPES
from llm_bridge.embedded.language import Corpus
from llm_bridge.embedded.tiny import CONTEXT, build_model, build_tokenizer
from llm_bridge.lm.loading import quiet
from llm_bridge.lm.sft import FineTuning, fine_tune

TEXTS = 20_000
"""Texts that the embedded language model learns from."""


def pretrain(folder: Path, size: str, corpus: Corpus, sft: FineTuning, dtype: str) -> None:
    """Train a language model on texts of a corpus, and save it with its tokenizer."""
    tokenizer, rng = build_tokenizer(), np.random.default_rng(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(size, tokenizer, DTYPES[dtype])
    fine_tune(model, tokenizer, corpus.write(TEXTS, rng), sft, rng=rng, limit=CONTEXT)
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
