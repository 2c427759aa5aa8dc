"""Reward models on transformers: scores and training."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from llm_bridge.data.pairs import Labelling, respond, sample_pairs
from llm_bridge.embedded.tiny import CONTEXT
from llm_bridge.lm.tokens import encode
from llm_bridge.rewards.evaluation import margins
from llm_bridge.rewards.models import RewardModel, RewardTraining, train
from tests.tolerance import ALPHA, FLOAT32
from theory.errors import InputError
from theory.intervals import clopper_pearson
from theory.memory import Memory

pytestmark = pytest.mark.machine


@pytest.fixture(scope="module")
def material(quick):
    """Model, tokenizer, and pairs that the true reward labels without doubt."""
    model, tokenizer = quick.policy()
    generator, prompts = torch.Generator().manual_seed(3), quick.prompts * 50
    texts = [
        respond(model, tokenizer, prompts, quick.sampling, limit=64, generator=generator)
        for _ in range(2)
    ]
    certain = Labelling(temperature=1e-6)
    rng = np.random.default_rng(0)
    return model, tokenizer, sample_pairs(*texts, prompts, quick.gold, certain, rng=rng)


def fresh(material, heads=1):
    model, tokenizer, _ = material
    torch.manual_seed(0)
    trunk = deepcopy(model.base_model).requires_grad_(True)
    return RewardModel(trunk, tokenizer, heads=heads, limit=CONTEXT)


def test_labels_follow_the_judge(quick, material):
    pairs = material[2]
    assert (quick.gold(pairs.prompts, pairs.chosen) >= quick.gold(pairs.prompts, pairs.rejected)).all()  # fmt: skip # noqa: E501
    flipped = sample_pairs(
        pairs.chosen, pairs.rejected, pairs.prompts, lambda _, texts: np.arange(len(texts)) * 0.0,
        Labelling(), rng=np.random.default_rng(1),
    )  # fmt: skip
    kept = sum(a == b for a, b in zip(flipped.chosen, pairs.chosen, strict=True))
    assert 0.5 in clopper_pearson(kept, len(pairs), ALPHA)


def test_scores_do_not_depend_on_the_batch(material):
    model, pairs = fresh(material, 3), material[2]
    prompts = ["weather : the garden is", *pairs.prompts[1:40]]
    together = model.score(prompts, pairs.chosen[:40]).members
    assert together.shape == (40, 3)
    for row in (0, 7, 39):
        alone = model.score(prompts[row : row + 1], pairs.chosen[row : row + 1]).members
        torch.testing.assert_close(together[row : row + 1], alone, atol=FLOAT32, rtol=FLOAT32)


def test_texts_of_similar_length_are_read_together(material, monkeypatch):
    """The scores are those of each text alone; little is read twice over, as padding."""
    lengths = np.random.default_rng(0).permutation(np.arange(1, 41))
    prompts = ["garden :", "weather : the garden is"] * 20
    texts = [" ".join(["the rose is"] * (size // 3)) + " ." * (size % 3) for size in lengths]
    model, seen = fresh(material, 2), []
    alone = torch.cat([model.score([p], [t]).members for p, t in zip(prompts, texts, strict=True)])
    monkeypatch.setattr("llm_bridge.rewards.models.SCORE_BATCH", 8)
    hook = model.trunk.register_forward_hook(
        lambda _, __, given, ___: seen.append(given["attention_mask"]), with_kwargs=True
    )
    torch.testing.assert_close(
        model.score(prompts, texts).members, alone, atol=FLOAT32, rtol=FLOAT32
    )
    assert [len(mask) for mask in seen] == [8] * 5
    read, live = sum(mask.numel() for mask in seen), sum(int(mask.sum()) for mask in seen)
    assert live < read < 1.25 * live
    whole = encode(model.tokenizer, prompts, texts, limit=CONTEXT, empty=True)
    assert int(whole.mask.sum()) == live < 0.6 * whole.mask.numel()
    monkeypatch.setattr("llm_bridge.rewards.models.SCORE_TOKENS", 64)
    seen.clear()
    torch.testing.assert_close(
        model.score(prompts, texts).members, alone, atol=FLOAT32, rtol=FLOAT32
    )
    assert max(mask.numel() for mask in seen) <= 64
    hook.remove()


def test_an_empty_response_has_a_score(material):
    assert fresh(material).score(["garden :"], [""]).members.shape == (1, 1)


def test_training_fits_the_comparisons(material):
    model, pairs = fresh(material), material[2]
    before = (margins(model.score, pairs) > 0).mean()
    losses = train(
        model, pairs, np.ones((len(pairs), 1)), RewardTraining(epochs=12),
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.05
    assert (margins(model.score, pairs) > 0).mean() > before + 0.1


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


def test_parts_of_a_batch_add_up_to_it(material):
    pairs, found = material[2], []
    weights = np.random.default_rng(0).integers(0, 3, (len(pairs), 2)).astype(float)
    for parts in (1, 4):
        model = fresh(material, 2)
        settings = RewardTraining(epochs=0.5, accumulate=parts)
        losses = train(model, pairs, weights, settings, rng=np.random.default_rng(0))
        found.append((losses, model.score(pairs.prompts[:9], pairs.chosen[:9]).members.numpy()))
    for whole, summed in zip(*found, strict=True):
        np.testing.assert_allclose(whole, summed, atol=FLOAT32, rtol=FLOAT32)


def test_a_frozen_trunk_reads_every_text_once(material):
    """And its heads are trained as if it read them at every step."""
    pairs, found = material[2], []
    for frozen in (True, False):
        model, passes = fresh(material, 2), []
        model.trunk.requires_grad_(False)
        model.trunk.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        if not frozen:
            model.trunk.wte.weight.requires_grad_(True)
        parts = [model.head.weight, model.head.bias]
        settings = RewardTraining(epochs=2, weight_decay=0.0, clip=1e9)
        if not frozen:
            model.trunk.wte.weight.register_hook(torch.zeros_like)
        losses = train(
            model, pairs, np.ones((len(pairs), 2)), settings, rng=np.random.default_rng(0)
        )
        found.append((losses, *(part.detach().numpy() for part in parts)))
        assert len(passes) == (4 if frozen else 2 * len(losses))
    for cached, read in zip(*found, strict=True):
        np.testing.assert_allclose(cached, read, atol=FLOAT32, rtol=FLOAT32)


def test_losses_are_of_each_head(material):
    """A head without a pair in a batch has none."""
    pairs = material[2]
    weights = np.zeros((len(pairs), 3))
    weights[:, 0], weights[: len(pairs) // 2, 1] = 1, 1
    model = fresh(material, 3)
    losses = train(model, pairs, weights, RewardTraining(epochs=0.5), rng=np.random.default_rng(0))
    assert losses.shape[1] == 3
    assert np.isfinite(losses[:, :2]).all()
    assert np.isnan(losses[:, 2]).all()


def test_the_learning_rate_rises_and_falls():
    for schedule, middle in (("constant", 1.0), ("linear", 0.5), ("cosine", 0.5)):
        settings = RewardTraining(schedule=schedule, warm_up=0.1)
        rates = [settings.rate(step, 100) for step in range(101)]
        assert rates[0] == pytest.approx(0.1 * RewardTraining(schedule=schedule).rate(0, 100))
        assert rates[:10] == sorted(rates[:10])
        assert rates[9:] == sorted(rates[9:], reverse=True)
        assert rates[50] == pytest.approx(middle)
        assert rates[100] == pytest.approx(float(schedule == "constant"))


def test_a_cached_world_is_the_trained_one(quick):
    first = quick.normaliser(5)
    second = replace(quick, memory=Memory()).normaliser(5)
    assert first is not second
    assert torch.equal(first.table.members, second.table.members)


def test_scores_that_are_not_finite_are_refused(material):
    model = fresh(material)
    model.head.bias.data.fill_(float("nan"))
    with pytest.raises(InputError, match="finite"):
        model.score(["garden :"], ["the rose is bright ."])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RewardTraining(epochs=0),
        lambda: RewardTraining(schedule="step"),
        lambda: RewardTraining(warm_up=1.0),
        lambda: RewardTraining(accumulate=3),
        lambda: RewardTraining(centring=-0.1),
        lambda: Labelling(pairs=0),
        lambda: replace(Labelling(), temperature=0.0),
    ],
)
def test_bad_input(wrong):
    with pytest.raises(InputError):
        wrong()
