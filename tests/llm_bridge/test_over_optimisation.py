"""The embedded world is one in which over-optimisation happens, and one that can be solved."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from llm_bridge.data.pairs import respond
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.settings import Settings
from llm_bridge.text_world import TextWorld
from theory.presets import vanilla
from theory.scores import Scores

WINDOW = 5
"""Iterations of 128 responses over which a curve is averaged."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    single = EnsembleSettings(members=1, split="same", training=RewardTraining(epochs=2))
    cache = tmp_path_factory.mktemp("tiny")
    return TextWorld(ensemble=single, normalise="standardised", cache=cache)


def curve(trainer, steps, *columns):
    rows = [row for _, row, _ in trainer.run(steps)]
    smooth = np.ones(WINDOW) / WINDOW
    return [np.convolve([row[c] for row in rows], smooth, "valid") for c in columns]


@pytest.fixture(scope="module")
def start(world):
    """True reward of the reference."""
    model, tokenizer = world.policy()
    prompts = world.prompts * 200
    generator = torch.Generator().manual_seed(0)
    texts = respond(model, tokenizer, prompts, world.sampling, limit=64, generator=generator)
    return world.gold(prompts, texts).mean()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_true_reward_rises_and_falls_while_the_proxy_goes_on(world, start, seed):
    trainer = world.trainer(vanilla(0.003), Settings(learning_rate=2e-4), seed)
    gold, proxy = curve(trainer, 110, "gold", "proxy")
    peak = int(gold.argmax())
    assert gold[peak] - start >= 0.2
    assert gold[peak] - gold[-1] >= 0.5
    assert proxy[-1] > proxy[peak] > 0


def test_a_policy_that_is_paid_the_true_reward_earns_it(world, start):
    trainer = world.trainer(vanilla(0.02), Settings(learning_rate=5e-4), 0)
    truth = replace(
        trainer.normaliser,
        score=lambda *texts: Scores(torch.tensor(world.gold(*texts)).float()[:, None]),
        offset=trainer.normaliser.offset * 0,
        scale=trainer.normaliser.scale * 0 + 1,
    )
    assert isinstance(truth, Normaliser)
    trainer.normaliser = truth
    (gold,) = curve(trainer, 100, "gold")
    assert gold[-1] - start >= 0.7
