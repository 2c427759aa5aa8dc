"""The same code on a pretrained checkpoint of another architecture."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llm_bridge.data.pairs import respond
from llm_bridge.lm.actor import Actor, log_probabilities
from llm_bridge.lm.sampling import Sampling
from llm_bridge.lm.tokens import encode
from llm_bridge.ppo import Trainer
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.settings import Settings
from tests.tolerance import FLOAT32
from theory.presets import variance_aware
from theory.scores import Scores

STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260k"
PROMPTS = ["Once upon a time, there was a little girl named", "One day, a big dog"]
pytestmark = pytest.mark.skipif(not STORIES.is_dir(), reason="needs the stories260k checkpoint")


@pytest.fixture(scope="module")
def stories():
    model = AutoModelForCausalLM.from_pretrained(STORIES).eval().requires_grad_(False)
    return model, AutoTokenizer.from_pretrained(STORIES)


def test_it_tells_stories(stories):
    model, tokenizer = stories
    texts = respond(
        model, tokenizer, PROMPTS * 8, Sampling(40, temperature=0.6), limit=200,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    words = " ".join(texts).lower().split()
    common = {"the", "a", "to", "and", "was", "she", "he", "they", "her", "his", "in"}
    assert np.mean([word.strip('.,"') in common for word in words]) > 0.2


def test_padding_changes_no_probability(stories):
    model, tokenizer = stories
    responses = [" was very happy.", " ran to the park and saw a cat."]
    together = log_probabilities(model, encode(tokenizer, PROMPTS, responses, limit=100))
    for row in range(2):
        alone = encode(tokenizer, PROMPTS[row : row + 1], responses[row : row + 1], limit=100)
        expected = log_probabilities(model, alone)[0]
        found = together[row, : len(expected)]
        torch.testing.assert_close(found, expected, atol=FLOAT32, rtol=FLOAT32)


def test_it_is_trained_by_the_same_loop(stories):
    """Rewards: two counts of letters, so that members disagree."""
    model, tokenizer = stories

    def score(_, texts):
        counts = [[text.count("a"), text.count("e")] for text in texts]
        return Scores(torch.tensor(counts, dtype=torch.float32))

    generator = torch.Generator().manual_seed(0)
    sampling = Sampling(12)
    references = {
        prompt: respond(model, tokenizer, [prompt] * 8, sampling, limit=100, generator=generator)
        for prompt in PROMPTS
    }
    normaliser = Normaliser.fit(score, references)
    actor = Actor(deepcopy(model).requires_grad_(True))
    settings = Settings(batch=16, learning_rate=1e-3)
    trainer = Trainer(
        actor, model, tokenizer, normaliser, None, PROMPTS, variance_aware(0.01), settings,
        sampling=sampling, limit=100, seed=0,
    )  # fmt: skip
    rows = [row for _, row, _ in trainer.run(6)]
    assert abs(rows[0]["kl"]) < FLOAT32
    assert rows[-1]["kl_k3"] > 0.01
    assert rows[-1]["proxy"] > rows[0]["proxy"]
    assert "gold" not in rows[0]
