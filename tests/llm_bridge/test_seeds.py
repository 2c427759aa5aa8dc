"""Seeds of torch's global generators: what a training draws depends on its own seed alone."""

import numpy as np
import torch

from llm_bridge.embedded.language import Corpus
from llm_bridge.embedded.tiny import CONTEXT, build_model, build_tokenizer
from llm_bridge.lm.sft import FineTuning, fine_tune
from llm_bridge.seeds import seeded

CPU = torch.device("cpu")


def drawn(rng):
    with seeded(rng, CPU):
        return torch.rand(3).tolist()


def test_the_same_seed_draws_the_same_whatever_was_drawn_before():
    first, rng = drawn(np.random.default_rng(1)), np.random.default_rng(1)
    torch.rand(5)
    assert drawn(rng) == first
    assert drawn(rng) != first
    assert drawn(np.random.default_rng(2)) != first


def test_no_other_stream_moves():
    rng, state = np.random.default_rng(1), torch.random.get_rng_state()
    drawn(rng)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert rng.random() == np.random.default_rng(1).random()


def test_a_seed_is_a_fine_tuning():
    """With dropout."""
    tokenizer, texts = build_tokenizer(), Corpus().write(30, np.random.default_rng(0))
    found = []
    for seed in (1, 1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = build_model("tiny", tokenizer)
        for layer in model.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.1
        settings, rng = FineTuning(steps=3, batch=30), np.random.default_rng(seed)
        found.append(fine_tune(model, tokenizer, texts, settings, rng=rng, limit=CONTEXT))
    assert found[0] == found[1] != found[2]
