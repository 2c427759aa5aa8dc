"""Comparisons of the embedded language, and a model of random weights: quick to make."""

import numpy as np
import torch

from llm_bridge.data.pairs import Labelling, Pairs, sample_pairs
from llm_bridge.embedded.language import Corpus, Gold
from llm_bridge.embedded.tiny import build_model, build_tokenizer

TOKENIZER = build_tokenizer()


def comparisons(count: int, *, seed: int = 0, temperature: float = 0.5) -> Pairs:
    """Written texts, the second of each pair for the prompt of the first, and noisy labels."""
    rng = np.random.default_rng(seed)
    prompts, first = zip(*Corpus().write(count, rng), strict=True)
    second = [text for _, text in Corpus().write(count, rng)]
    labelling = Labelling(temperature=temperature)
    return sample_pairs(first, second, prompts, Gold().all, labelling, rng=rng)


def random_model(seed: int = 0):
    """A language model that nobody trained."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model("tiny", TOKENIZER).eval().requires_grad_(False)
