"""Kinds of reward ensembles: what is shared, what is trained, and what comes back from files."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2Model, GPT2Tokenizer
from transformers.pytorch_utils import Conv1D

from llm_bridge.data.pairs import Pairs
from llm_bridge.embedded.tiny import CONTEXT
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.stacked import STATES, StackedLora
from llm_bridge.rewards.adapted import AdaptedRewardModel
from llm_bridge.rewards.brme import Brme, GaussianRewardModel, train_gaussian
from llm_bridge.rewards.ensembles import Ensemble, EnsembleSettings
from llm_bridge.rewards.evaluation import margins
from llm_bridge.rewards.fusion import Fusion
from llm_bridge.rewards.models import RewardTraining, train
from llm_bridge.rewards.normalise import Normaliser
from tests.llm_bridge.comparisons import TOKENIZER, comparisons, random_model
from tests.tolerance import FLOAT32
from theory.errors import InputError
from theory.penalties import StdDev
from theory.splits import split_counts
from theory.utilities import LCB, UWO, Max, Mean, Member, Min

pytestmark = pytest.mark.machine

GPT2 = Path(__file__).parents[3] / "shared" / "models" / "gpt2-tokenizer"
BASE, PAIRS = random_model(), comparisons(96)
TEXTS = PAIRS.prompts[:12], PAIRS.chosen[:12]
QUICK = RewardTraining(epochs=1, batch=16)
SETTINGS = {
    kind: EnsembleSettings(kind, 3, training=QUICK, lora=Lora(rank=2))
    for kind in ("independent", "shared_trunk", "heads", "lora", "brme")
}
LAYERS = [layer for layer in BASE.modules() if isinstance(layer, Conv1D)]
MADE: dict[EnsembleSettings, Ensemble] = {}


def fit(settings, *, pairs=PAIRS, seed=4, base=BASE):
    return settings.train(base, TOKENIZER, pairs, limit=CONTEXT, seed=seed)


def made(kind):
    """Trained once for all tests."""
    settings = SETTINGS[kind]
    if settings not in MADE:
        MADE[settings] = fit(settings)
    return MADE[settings]


def assert_identical(found, expected):
    assert torch.equal(found.members, expected.members)
    if expected.head_std is not None:
        assert torch.equal(found.head_std, expected.head_std)


@pytest.mark.parametrize("kind", SETTINGS)
def test_they_come_back_from_files_bit_for_bit(kind, tmp_path):
    """With the base model, and from the folder alone."""
    trained, settings = made(kind), SETTINGS[kind]
    scores = trained(*TEXTS)
    assert scores.members.shape == (12, 3)
    assert (scores.head_std is not None) == (kind == "brme")
    assert not torch.equal(scores.members[:, 0], scores.members[:, 1])
    trained.save(tmp_path)
    state = torch.random.get_rng_state()
    loaded = settings.load(tmp_path, BASE, TOKENIZER, limit=CONTEXT)
    alone = Ensemble.from_pretrained(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)
    for found in (loaded, alone):
        assert_identical(found(*TEXTS), scores)
        assert found.settings == settings
        assert not any(p.requires_grad for model in found.models for p in model.head.parameters())


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_seed_is_a_training(kind):
    """Whatever was drawn before, in a model with dropout and adapters with it."""
    few, base = comparisons(32), deepcopy(BASE)
    for layer in base.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.1
    settings = replace(SETTINGS[kind], lora=Lora(rank=2, dropout=0.1))
    first, same, other = (fit(settings, pairs=few, seed=seed, base=base) for seed in (1, 1, 2))
    assert_identical(first(*TEXTS), same(*TEXTS))
    assert not torch.equal(first(*TEXTS).members, other(*TEXTS).members)


@pytest.mark.parametrize("kind", SETTINGS)
def test_what_is_trained_and_loaded(kind):
    """k (M + L), M + k L, M + k L, M + k L + k A, M + 2 k L [zhang2024, sec. 3.1]."""
    trunk = sum(p.numel() for p in BASE.base_model.parameters())
    head, k = BASE.config.n_embd + 1, 3
    adapter = sum(2 * sum(layer.weight.shape) for layer in LAYERS)
    expected = {
        "independent": (k * (trunk + head),) * 2,
        "shared_trunk": (trunk + k * head,) * 2,
        "heads": (k * head, trunk + k * head),
        "lora": (k * (adapter + head), trunk + k * (adapter + head)),
        "brme": (trunk + 2 * k * head,) * 2,
    }
    assert made(kind).parameters() == expected[kind]


@pytest.mark.parametrize(("kind", "passes"), [("independent", 3), ("heads", 1), ("brme", 1)])
def test_heads_share_one_pass(kind, passes):
    ensemble, seen = made(kind), []
    hooks = [m.trunk.register_forward_hook(lambda *_: seen.append(1)) for m in ensemble.models]
    ensemble(*TEXTS)
    for hook in hooks:
        hook.remove()
    assert len(seen) == passes


def test_frozen_heads_stand_on_the_first_stage():
    """Its trunk does not move; its head may stay as the first of them."""
    still = RewardTraining(epochs=1, batch=16, learning_rate=1e-9, weight_decay=0.0)
    kept = replace(SETTINGS["heads"], first=QUICK, training=still, keep_first=True)
    fresh = replace(kept, keep_first=False)
    single = replace(SETTINGS["shared_trunk"], members=1, split="same", training=QUICK)
    attached, other = fit(kept), fit(fresh)
    for name, weight in attached.models[0].trunk.named_parameters():
        assert torch.equal(weight, other.models[0].trunk.get_parameter(name))
    assert attached.losses["first"].shape[1] == 1
    assert attached.losses["model 0"].shape[1] == 3
    scores, others = attached(*TEXTS).members, other(*TEXTS).members
    torch.testing.assert_close(scores[:, 1:], others[:, 1:], atol=FLOAT32, rtol=0.0)
    assert (scores[:, 0] - others[:, 0]).abs().max() > 0.01
    assert fit(single).parameters().loaded == attached.parameters().loaded - 2 * 65


def test_adapted_members_differ_by_their_adapters_and_heads_alone():
    """Adapters start without effect, B = 0, and end with one."""
    (model,) = made("lora").models
    assert model.adapters.members == 3
    assert set(dict(model.named_parameters())) == {
        *(f"trunk.{name}" for name, _ in BASE.base_model.named_parameters()),
        *(f"adapters.{name}" for name, _ in model.adapters.named_parameters()),
        "head.weight", "head.bias",
    }  # fmt: skip
    assert len(model.adapters.up) == len(LAYERS)
    assert all(bool(weight.flatten(1).any(1).all()) for weight in model.adapters.up.values())


def adapted(members):
    """Untrained, of the first of three members or so, with adapters that have an effect."""
    trunk = deepcopy(BASE.base_model)
    stack = StackedLora(trunk, Lora(rank=2), members)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AdaptedRewardModel(trunk, TOKENIZER, adapters=stack, limit=CONTEXT)
    with torch.no_grad():
        for row, seed in enumerate(members):
            generator = torch.Generator().manual_seed(seed)
            for weight in (*stack.up.values(), model.head.weight, model.head.bias):
                weight[row] = 0.2 * torch.randn(weight[row].shape, generator=generator)
    return model


@pytest.mark.parametrize("states", [1, 2**22])
@pytest.mark.parametrize("split", ["same", "disjoint"])
def test_adapted_members_are_trained_as_if_alone(split, states, monkeypatch):
    """Each with its own order, clipping and losses, in one pass as in one pass each."""
    monkeypatch.setitem(STATES, "cpu", states)
    few = comparisons(48)
    how = RewardTraining(epochs=1, batch=16, clip=0.05, accumulate=2, schedule="cosine")
    weights = split_counts(split, 3, len(few), rng=np.random.default_rng(0)).T
    assert len(adapted(range(3)).adapters.groups(100)) == (3 if states == 1 else 1)

    def trained(members):
        model = adapted(members)
        rngs = [np.random.default_rng(index) for index in members]
        losses = train(model, few, weights[:, members], how, rng=rngs)
        return losses, model

    losses, together = trained([0, 1, 2])
    scores = together.score(*TEXTS).members
    assert not torch.allclose(scores, adapted(range(3)).score(*TEXTS).members, atol=0.003)
    for member in range(3):
        own, single = trained([member])
        np.testing.assert_allclose(losses[:, [member]], own, atol=FLOAT32, rtol=FLOAT32)
        torch.testing.assert_close(
            scores[:, [member]], single.score(*TEXTS).members, atol=FLOAT32, rtol=FLOAT32
        )


def test_the_first_stage_may_have_pairs_of_its_own():
    """What it does not see trains the members, and the other way round."""
    settings = replace(SETTINGS["heads"], first_share=0.75, split="same")
    ensemble = fit(settings)
    assert len(ensemble.losses["first"]) == round(0.75 * 96 / 16)
    assert len(ensemble.losses["model 0"]) == round(0.25 * 96 / 16)


@pytest.fixture(scope="module")
def noisy():
    """Heads that learn noise of std 0.1 on texts of one prompt and 0.6 on those of another."""
    prompts = sorted(set(PAIRS.prompts))[:2]
    rng = np.random.default_rng(0)
    rows = np.arange(600) % 2
    std = np.array([0.1, 0.6])[rows]
    return prompts, ".", rows, 0.5 + 0.25 * std * rng.normal(size=600)


@pytest.mark.parametrize("loss", ["nll", "mse"])
def test_the_likelihood_learns_the_noise_and_the_square_unlearns_it(loss, noisy):
    """Targets alpha (p - 1/2) with alpha = 4 are of mean 0 and of the std of their prompt."""
    prompts, text, rows, preference = noisy
    pairs = Pairs(tuple(prompts[row] for row in rows), (text,) * 600, (text,) * 600)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GaussianRewardModel(random_model().base_model, TOKENIZER, heads=2, limit=CONTEXT)
    before = model.score(prompts, [text] * 2).head_std
    train_gaussian(
        model, pairs, preference, np.ones((600, 2)),
        RewardTraining(epochs=20, learning_rate=0.05, schedule="linear"), Brme(4.0, loss),
        rng=np.random.default_rng(0), generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    found = model.score(prompts, [text] * 2).head_std
    if loss == "nll":
        torch.testing.assert_close(found, torch.tensor([[0.1] * 2, [0.6] * 2]), atol=0.1, rtol=0.2)
    else:
        assert (found < 0.2 * before).all()


def test_brme_learns_what_its_first_stage_says():
    """Targets lie within alpha / 2 and order the pairs as it does."""
    pairs = comparisons(128, temperature=0.1)
    training = RewardTraining(epochs=4, batch=16)
    settings = EnsembleSettings("brme", 2, training=training, brme=Brme(1.0))
    ensemble = fit(settings, pairs=pairs)
    assert settings.sees == "disjoint"
    assert (margins(ensemble, pairs) > 0).mean() > 0.65
    assert ensemble(pairs.prompts, pairs.chosen).members.abs().mean() < 0.5


def test_copies_of_a_member_are_that_member():
    """In every utility; their disagreement is at its floor, not below."""
    ensemble = fit(SETTINGS["shared_trunk"])
    head = ensemble.models[0].head
    with torch.no_grad():
        head.weight[:], head.bias[:] = head.weight[:1].clone(), head.bias[:1].clone()
    scores = ensemble(*TEXTS)
    for utility in (Member(2), Mean(), Min(), Max(), LCB(1.0), UWO(0.5)):
        torch.testing.assert_close(utility(scores), scores.members[:, 0], atol=FLOAT32, rtol=0.0)
    torch.testing.assert_close(StdDev(sigma_min=0.3)(scores), torch.full((12,), 0.3))


@pytest.mark.skipif(not GPT2.is_dir(), reason="needs the tokenizer of GPT-2")
def test_models_with_tokenizers_of_their_own_are_fused():
    tokenizer = GPT2Tokenizer.from_pretrained(GPT2)
    tokenizer.eos_token = tokenizer.pad_token = "<|endoftext|>"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = GPT2Config(
            n_embd=8, n_layer=1, n_head=2, n_positions=128, vocab_size=len(tokenizer)
        )
        base = GPT2Model(config)
    settings = EnsembleSettings("heads", 2, training=replace(QUICK, epochs=0.5))
    other = settings.train(base, tokenizer, PAIRS, limit=128, seed=0)
    fused = Fusion((made("heads"), other))
    scores = fused(*TEXTS)
    assert scores.k == 5
    assert torch.equal(scores.members[:, 3:], other(*TEXTS).members)
    references = {PAIRS.prompts[0]: PAIRS.chosen[:16]}
    normaliser = Normaliser.fit(fused, references, centring="global", normalise="standardised")
    torch.testing.assert_close(normaliser.table.members.square().mean((0, 1)), torch.ones(5))


def test_files_of_another_ensemble_are_refused(tmp_path):
    made("shared_trunk").save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"members.*3.*got 5.*from_pretrained"):
        EnsembleSettings("shared_trunk", 5).load(tmp_path, BASE, TOKENIZER, limit=CONTEXT)
    with pytest.raises(InputError, match=r"kind.*shared_trunk.*got 'heads'"):
        EnsembleSettings("heads", 3).load(tmp_path, BASE, TOKENIZER, limit=CONTEXT)
    wide = GPT2Model(GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=len(TOKENIZER)))
    with pytest.raises(InputError, match="size mismatch"):
        SETTINGS["shared_trunk"].load(tmp_path, wide, TOKENIZER, limit=CONTEXT)
    with pytest.raises(InputError, match=r"ensemble\.json"):
        Ensemble.from_pretrained(tmp_path / "nothing")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: EnsembleSettings(kind="bayes"),
        lambda: EnsembleSettings(split="fresh"),
        lambda: EnsembleSettings(members=0),
        lambda: EnsembleSettings("heads", first_share=0.0),
        lambda: EnsembleSettings("independent", first_share=0.5),
        lambda: EnsembleSettings("lora", keep_first=True),
        lambda: Brme(loss="crps"),
        lambda: Brme(alpha=0.0),
    ],
)
def test_bad_input(wrong):
    with pytest.raises(InputError):
        wrong()
