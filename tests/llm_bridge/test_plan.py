"""Counts against published ones, arithmetic and memory against what torch really does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, GemmaConfig, GPT2Config, LlamaConfig

from llm_bridge.data.pairs import Pairs
from llm_bridge.embedded.tiny import build_model, build_tokenizer
from llm_bridge.lm.actor import response_states
from llm_bridge.lm.checkpoints import fuse_activations
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.sft import FineTuning
from llm_bridge.lm.tokens import Batch
from llm_bridge.plans.architectures import PUBLISHED, Architecture, architecture
from llm_bridge.plans.costs import Lengths, Model
from llm_bridge.plans.plan import (
    fine_tuning_stage,
    ppo_stage,
    response_stage,
    reward_parameters,
    reward_stages,
    scoring_stage,
)
from llm_bridge.plans.stages import GIB, table
from llm_bridge.rewards.ensembles import Ensemble, EnsembleSettings
from llm_bridge.rewards.kinds import KINDS, Workshop
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.settings import Settings
from theory.errors import InputError

SHARED = {"vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL = {
    "gpt2": GPT2Config(vocab_size=300, n_embd=64, n_layer=2, n_head=4, n_positions=128),
    "llama": LlamaConfig(**SHARED, intermediate_size=160, num_key_value_heads=2),
    "gemma": GemmaConfig(**SHARED, intermediate_size=160, num_key_value_heads=1, head_dim=32),
}
ADAPTERS = (None, Lora(rank=4))
CLOSE = 0.15
"""For models this small, attention scores and masks, which one side leaves out, are a tenth."""


@pytest.fixture(scope="module")
def gpt2():
    return architecture("gpt2")


@pytest.fixture(scope="module")
def gemma():
    return architecture("google/gemma-2b-it")


def real(name, lora):
    model = fuse_activations(AutoModelForCausalLM.from_config(SMALL[name])).eval()
    if lora is not None:
        lora.attach(model, "a", seed=0)
    return model


def batch(texts=3, prompt=4, response=8):
    ids = torch.randint(0, 300, (texts, prompt + response))
    live = torch.ones_like(ids, dtype=torch.bool)
    return Batch(ids[:, :prompt], live[:, :prompt], ids[:, prompt:], live[:, prompt:])


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gpt2", 124_439_808),
        ("openai-community/gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("EleutherAI/gpt-j-6B", 6_050_882_784),
        ("google/gemma-2b-it", 2_506_172_416),
        ("google/gemma-7b", 8_537_680_896),
        ("huggyllama/llama-7b", 6_738_415_616),
        ("meta-llama/Llama-2-13b-hf", 13_015_864_320),
        ("meta-llama/Meta-Llama-3-8B-Instruct", 8_030_261_248),
    ],
)
def test_published_counts(name, parameters):
    assert architecture(name).parameters == parameters


def test_parts_of_published_models(gpt2, gemma):
    assert gpt2.body == pytest.approx(85.1e6, rel=1e-3)
    assert gpt2.head == 50_257 * 768
    assert gemma.body == pytest.approx(1.98e9, rel=1e-3)
    assert gpt2.adapters(Lora(rank=16)) == 2_359_296
    attention = Lora(rank=8, targets=("q_proj", "v_proj"))
    assert gemma.adapters(attention) == 8 * 18 * (2048 + 2048 + 2048 + 256)
    assert (gpt2.cache, gemma.cache) == (2 * 12 * 768, 2 * 18 * 256)
    assert gemma.adapters(None) == 0


def test_an_architecture_of_a_folder(tmp_path):
    SMALL["llama"].save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_config(SMALL["llama"])
    assert architecture(tmp_path).parameters == sum(p.numel() for p in model.parameters())


def test_an_unknown_architecture(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"nobody/nothing.*known without a connection: gpt2,"):
        architecture("nobody/nothing")


@pytest.mark.parametrize("lora", ADAPTERS)
@pytest.mark.parametrize("name", sorted(SMALL))
def test_arithmetic_is_what_torch_counts(name, lora):
    with torch.random.fork_rng():
        model, given = real(name, lora), batch()
    made = Model(Architecture(name, SMALL[name]), lora)
    words = given.responses.numel()
    with FlopCounterMode(display=False) as forward:
        hidden = response_states(model, given)
        logits = model.get_output_embeddings()(hidden)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    tokens = given.tokens.numel()
    assert forward.get_total_flops() == pytest.approx(made.forward(tokens, words), rel=CLOSE)
    both = forward.get_total_flops() + backward.get_total_flops()
    assert both == pytest.approx(made.learn(tokens, words), rel=CLOSE)
    assert made.trainable == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert made.loaded == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("lora", ADAPTERS)
@pytest.mark.parametrize("name", sorted(SMALL))
def test_activations_are_what_autograd_saves(name, lora):
    with torch.random.fork_rng():
        model, given = real(name, lora), batch()
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = response_states(model, given)
    found = sum(storage.nbytes() for place, storage in kept.items() if place not in own)
    assert hidden.requires_grad
    read = given.tokens[:, :-1]
    expected = Model(Architecture(name, SMALL[name]), lora).activations(*read.shape)
    assert found == pytest.approx(expected, rel=CLOSE)


LENGTHS = Lengths(5, 10)
PAPER = Settings(batch=128, epochs=4)
HEADS = EnsembleSettings(kind="heads", members=10, training=RewardTraining(epochs=1))


def step(policy, trunk, settings=PAPER, ensemble=HEADS, lengths=LENGTHS):
    return ppo_stage(policy, settings, lengths, steps=1, trunk=trunk, ensemble=ensemble)


@pytest.mark.slow
def test_a_step_of_ppo_costs_what_was_worked_out_by_hand(gpt2, gemma):
    """With log-probabilities taken from sampling; this loop reads responses once more."""
    scoring = 2 * gemma.body * 128 * 15
    assert scoring == pytest.approx(7.60e12, rel=0.01)
    read = Model(gpt2).forward(128 * 15, 128 * 10)
    found = step(gpt2, gemma).flops - read - scoring
    assert found == pytest.approx(5.96e12, rel=0.01)
    adapted = step(gpt2, gemma, replace(PAPER, lora=Lora(rank=16)))
    assert adapted.flops - read - scoring == pytest.approx(4.36e12, rel=0.02)
    critic = step(gpt2, gemma, replace(PAPER, critic="separate"))
    assert critic.flops - read - scoring == pytest.approx(10.2e12, rel=0.01)
    assert ppo_stage(
        gpt2, PAPER, LENGTHS, steps=192, trunk=gemma, ensemble=HEADS
    ).flops == pytest.approx(192 * (5.96e12 + read + scoring), rel=0.01)


@pytest.mark.slow
def test_adapters_spare_the_reference_and_the_moments(gpt2, gemma):
    whole, adapted = (step(gpt2, gemma, replace(PAPER, lora=lora)) for lora in (None, Lora(16)))
    assert whole.loaded - adapted.loaded == gpt2.parameters - 2_359_296
    assert adapted.trainable == 2_359_296 + 769
    assert adapted.memory.training < 0.02 * whole.memory.training
    assert whole.memory.training == 12 * gpt2.parameters
    fewer = step(gpt2, gemma, replace(PAPER, accumulate=8))
    assert fewer.memory.work < whole.memory.work
    assert fewer.flops == whole.flops


@pytest.mark.parametrize("kind", KINDS)
def test_reward_models_have_the_parameters_that_are_planned(kind):
    tokenizer = build_tokenizer()
    with torch.random.fork_rng():
        base = build_model("tiny", tokenizer)
    settings = EnsembleSettings(kind=kind, members=3)
    made = Ensemble(Workshop(settings, base, tokenizer, 40, 0).untrained(), settings)
    trunk = Architecture("tiny", base.config)
    assert made.parameters().loaded == reward_parameters(trunk, settings)
    last = reward_stages(trunk, settings, Lengths(3, 8), pairs=100)[-1]
    assert last.loaded == made.parameters().loaded + trunk.parameters
    assert last.trainable == made.parameters().trained


@pytest.mark.parametrize("kind", ["independent", "shared_trunk", "lora"])
def test_reward_models_take_the_steps_that_are_planned(kind):
    tokenizer = build_tokenizer()
    with torch.random.fork_rng():
        base = build_model("tiny", tokenizer)
    pairs = Pairs(("garden :",) * 12, ("the rose is kind .",) * 12, ("the rose is dull .",) * 12)
    settings = EnsembleSettings(
        kind=kind, members=3, split="disjoint", training=RewardTraining(epochs=2, batch=2)
    )
    losses = settings.train(base, tokenizer, pairs, limit=40, seed=0).losses
    stages = reward_stages(Architecture("tiny", base.config), settings, Lengths(3, 6), pairs=12)
    assert sum(stage.steps for stage in stages) == sum(map(len, losses.values()))


def test_resamples_leave_pairs_out(gemma):
    """A third of them for one head, next to none for ten."""
    alone = EnsembleSettings(members=1, training=RewardTraining(epochs=1, batch=10))
    found = [
        reward_stages(gemma, replace(alone, **how), LENGTHS, pairs=100_000)[-1].steps
        for how in ({}, {"split": "same"}, {"kind": "shared_trunk", "members": 10})
    ]
    assert found == [round(10_000 * (1 - np.exp(-1))), 10_000, 10_000]


def test_a_first_stage_takes_its_share_of_the_pairs(gemma):
    settings = EnsembleSettings(
        kind="brme", members=2, first_share=0.25, training=RewardTraining(epochs=1, batch=10)
    )
    first, second = reward_stages(gemma, settings, LENGTHS, pairs=1000)
    assert (first.steps, second.steps) == (25, 75)
    assert second.trainable == gemma.trunk + 4 * (gemma.width + 1)


def test_the_table_adds_up(gpt2, gemma):
    stages = [
        fine_tuning_stage(Model(gpt2), FineTuning(steps=10), LENGTHS),
        response_stage(Model(gpt2), LENGTHS, responses=1000),
        *reward_stages(gemma, HEADS, LENGTHS, pairs=1000, dtype="bfloat16"),
        step(gpt2, gemma),
        scoring_stage(Model(gemma, trunk=True), LENGTHS, texts=1000, name="judge"),
    ]
    lines = table(stages, tflops=989).splitlines()
    assert len(lines) == len(stages) + 2
    assert [line.split("  ")[0] for line in lines[1:]] == [*(s.name for s in stages), "total"]
    assert "124,439,808" in lines[1]
    assert f"{max(s.memory.peak for s in stages) / GIB:,.1f}" in lines[-1]
    assert lines[-1].endswith((" s", " min"))
    assert "time" not in table(stages)
    assert stages[0].seconds(100, 0.5) == pytest.approx(stages[0].flops / 5e13)
    with pytest.raises(InputError, match="tflops"):
        table(stages, tflops=0)


def test_every_published_name_is_a_language_model():
    """With a positive size in each of its parts."""
    for make in set(PUBLISHED.values()):
        made = Architecture("", make())
        assert 0 < made.head < made.body < made.trunk <= made.parameters
        assert made.cache > 0
