"""Reward models on transformers: scores, training, kinds of ensembles, files."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from llm_bridge.ensembles import EnsembleSettings
from llm_bridge.pairs import Labelling, Pairs, respond, sample_pairs
from llm_bridge.reward_models import RewardModel, RewardTraining, accuracy, train
from llm_bridge.tiny import CONTEXT
from tests.tolerance import ALPHA, FLOAT32
from theory.errors import InputError
from theory.intervals import clopper_pearson


@pytest.fixture(scope="module")
def material(quick):
    """Model, tokenizer, and pairs that the true reward labels without doubt."""
    model, tokenizer = quick.policy()
    generator, prompts = torch.Generator().manual_seed(3), quick.prompts * 50
    texts = [
        respond(model, tokenizer, prompts, quick.sampling, limit=16, generator=generator)
        for _ in range(2)
    ]
    certain = Labelling(temperature=1e-6)
    rng = np.random.default_rng(0)
    return model, tokenizer, sample_pairs(*texts, prompts, quick.gold.all, certain, rng=rng)


def fresh(material, heads=1):
    model, tokenizer, _ = material
    torch.manual_seed(0)
    trunk = deepcopy(model.base_model).requires_grad_(True)
    return RewardModel(trunk, tokenizer, heads=heads, limit=CONTEXT)


def test_labels_follow_the_judge(quick, material):
    pairs = material[2]
    assert (quick.gold.all(pairs.prompts, pairs.chosen) >= quick.gold.all(pairs.prompts, pairs.rejected)).all()  # fmt: skip # noqa: E501
    flipped = sample_pairs(
        pairs.chosen, pairs.rejected, pairs.prompts, lambda _, texts: np.arange(len(texts)) * 0.0,
        Labelling(), rng=np.random.default_rng(1),
    )  # fmt: skip
    kept = sum(a == b for a, b in zip(flipped.chosen, pairs.chosen, strict=True))
    assert 0.5 in clopper_pearson(kept, len(pairs), ALPHA)


def test_scores_do_not_depend_on_the_batch(material):
    model, pairs = fresh(material, 3), material[2]
    together = model.score(pairs.prompts[:40], pairs.chosen[:40])
    assert together.shape == (40, 3)
    for row in (0, 7, 39):
        alone = model.score(pairs.prompts[row : row + 1], pairs.chosen[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=FLOAT32, rtol=FLOAT32)


def test_an_empty_response_has_a_score(material):
    assert fresh(material).score(["garden :"], [""]).isfinite().all()


def test_training_fits_the_comparisons(material):
    model, pairs = fresh(material), material[2]
    before = accuracy(model.score, pairs)[0]
    losses = train(
        model, pairs, np.ones((len(pairs), 1)), RewardTraining(epochs=12),
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.05
    assert accuracy(model.score, pairs)[0] > before + 0.1


def test_training_stops_early_at_a_loss(material):
    pairs = material[2]
    settings = RewardTraining(epochs=4, stop=10.0)
    ones = np.ones((len(pairs), 1))
    losses = train(fresh(material), pairs, ones, settings, rng=np.random.default_rng(0))
    assert len(losses) == 10


def test_heads_learn_from_their_own_pairs_alone(material):
    """A head whose pairs all count nothing has no gradient."""
    model, pairs = fresh(material, 2), material[2]
    model.trunk.requires_grad_(False)
    before = model.head.weight.clone()
    weights = np.stack([np.ones(len(pairs)), np.zeros(len(pairs))], 1)
    settings = RewardTraining(epochs=1, weight_decay=0.0)
    train(model, pairs, weights, settings, rng=np.random.default_rng(0))
    assert not torch.equal(model.head.weight[0], before[0])
    assert torch.equal(model.head.weight[1], before[1])


@pytest.mark.parametrize("kind", ["independent", "shared_trunk"])
def test_ensembles_come_back_from_files_bit_for_bit(kind, material, tmp_path):
    model, tokenizer, pairs = material
    settings = EnsembleSettings(kind, 3, "bootstrap", RewardTraining(epochs=0.5))
    few = Pairs(pairs.prompts[:80], pairs.chosen[:80], pairs.rejected[:80])
    trained = settings.train(model, tokenizer, few, limit=CONTEXT, seed=4)
    assert len(trained.models) == (3 if kind == "independent" else 1)
    trained.save(tmp_path)
    loaded = settings.load(tmp_path, model, tokenizer, limit=CONTEXT)
    texts = (pairs.prompts[:20], pairs.chosen[:20])
    assert torch.equal(trained(*texts), loaded(*texts))
    again = settings.train(model, tokenizer, few, limit=CONTEXT, seed=4)
    assert torch.equal(trained(*texts), again(*texts))
    assert not torch.equal(trained(*texts)[:, 0], trained(*texts)[:, 1])


def test_a_cached_world_is_the_trained_one(quick):
    from llm_bridge.text_world import _normaliser

    first = quick.normaliser(5)
    _normaliser.cache_clear()
    second = quick.normaliser(5)
    assert first is not second
    assert torch.equal(first.table.members, second.table.members)


def test_scores_that_are_not_finite_are_refused(material):
    model = fresh(material)
    model.head.bias.data.fill_(float("nan"))
    with pytest.raises(InputError, match="finite scores"):
        model.score(["garden :"], ["the rose is bright ."])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: EnsembleSettings(kind="lora"),
        lambda: EnsembleSettings(split="fresh"),
        lambda: EnsembleSettings(members=0),
        lambda: RewardTraining(epochs=0),
        lambda: Labelling(pairs=0),
        lambda: replace(Labelling(), temperature=0.0),
    ],
)
def test_bad_input(wrong):
    with pytest.raises(InputError):
        wrong()
