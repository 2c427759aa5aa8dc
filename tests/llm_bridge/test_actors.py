"""What is trained: all weights or adapters, one trunk or two, in which precision."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from llm_bridge.actors import make_actor
from llm_bridge.lm.actor import log_probabilities
from llm_bridge.lm.lora import Lora, linear_layers, without_adapters
from llm_bridge.settings import Settings
from tests.tolerance import FLOAT32, mc
from theory.errors import InputError
from theory.presets import ensemble_mean

pytestmark = pytest.mark.machine

BFLOAT16 = 0.02
"""Relative error of sums of products with 8 bits."""


def trained(world, settings, steps=2):
    trainer = world.trainer(ensemble_mean(0.05), settings, 0)
    return trainer, [row for _, row, _ in trainer.run(steps)]


def test_adapters_leave_the_reference_below_them(quick, brief, tmp_path):
    settings = replace(brief, lora=Lora(4), learning_rate=1e-2)
    trainer, rows = trained(quick, settings, 3)
    assert abs(rows[0]["kl"]) < FLOAT32
    assert rows[-1]["kl_k3"] > 0
    batch, reference = trainer.rollout().batch, quick.policy()[0]
    with without_adapters(trainer.actor.model) as below:
        found = log_probabilities(below, batch)
    torch.testing.assert_close(found, log_probabilities(reference, batch))
    names = [name for name, p in trainer.actor.named_parameters() if p.requires_grad]
    assert all("lora_" in name or "value_head" in name for name in names)
    assert sum(p.numel() for p in trainer.parameters) < 0.2 * reference.num_parameters()


@pytest.mark.parametrize("lora", [None, Lora(4)])
def test_a_saved_policy_is_the_trained_one(lora, quick, brief, tmp_path):
    trainer, _ = trained(quick, replace(brief, lora=lora))
    trainer.save_policy(tmp_path)
    assert (tmp_path / "adapter_config.json").exists() == (lora is not None)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    batch = trainer.rollout().batch
    expected = log_probabilities(trainer.actor.model, batch)
    torch.testing.assert_close(log_probabilities(loaded, batch), expected)


def test_adapters_train_nothing_else(quick):
    settings = Settings(lora=Lora(2, targets=("c_attn",)))
    model = make_actor(quick.policy()[0], settings, temperature=1.0, seed=0).model
    layers = set(linear_layers(model))
    assert {"transformer.h.0.attn.c_attn", "transformer.h.1.mlp.c_proj"} <= layers
    assert layers == set(linear_layers(quick.policy()[0]))
    assert "lm_head" not in layers
    assert all("lora_" in name for name, p in model.named_parameters() if p.requires_grad)


def gradients(world, settings):
    """Of the policy's trunk, where only the value head has something to learn."""
    trainer = world.trainer(ensemble_mean(0.05), settings, 0)
    torch.nn.init.ones_(trainer.actor.value_head.weight)
    rolled = trainer.rollout()
    found = trainer.advantage(rolled, trainer.shape(rolled))
    trainer.update(rolled, found._replace(advantages=torch.zeros_like(found.advantages)))
    return torch.cat([p.grad.flatten() for p in trainer.actor.model.base_model.parameters()])


def test_a_separate_critic_leaves_the_policy_alone(quick, brief):
    once = replace(brief, epochs=1, minibatches=1)
    assert float(gradients(quick, once).abs().max()) > 0
    assert float(gradients(quick, replace(once, critic="separate")).abs().max()) == 0


def test_half_precision_is_near_full_precision(quick, brief):
    full, half = (
        trained(quick, replace(brief, precision=precision), 1)[0].rollout()
        for precision in ("float32", "bfloat16")
    )
    assert half.reading.log_prob.dtype == half.reading.value.dtype == torch.float32
    _, rows = trained(quick, replace(brief, precision="bfloat16"), 1)
    assert abs(rows[0]["kl"]) < FLOAT32
    trainer = quick.trainer(ensemble_mean(0.05), replace(brief, precision="bfloat16"), 0)
    rough = trainer.actor(full.batch).log_prob.detach()
    exact = log_probabilities(quick.policy()[0], full.batch)
    live = full.batch.live
    assert float((rough - exact)[live].abs().mean()) < BFLOAT16 * float(exact[live].abs().mean())
    assert not torch.equal(rough[live], exact[live])


def test_the_exact_kl_has_the_expectation_of_the_sampled_one(quick, brief):
    settings = replace(brief, exact_kl=True, learning_rate=3e-3, batch=64)
    trainer, rows = trained(quick, settings, 4)
    assert abs(rows[0]["kl_exact"]) < FLOAT32
    rolls = [trainer.rollout() for _ in range(8)]
    difference = torch.cat([roll.log_ratio.sum(1) - roll.token_kl.sum(1) for roll in rolls])
    assert all((roll.token_kl >= -FLOAT32).all() for roll in rolls)
    assert abs(float(difference.mean())) < mc(float(difference.std()), len(difference))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"rank": 0}, "rank"), ({"alpha": -1}, "alpha"), ({"dropout": 1.0}, "dropout")],
)
def test_bad_adapters(wrong, message):
    with pytest.raises(InputError, match=message):
        Lora(**wrong)


def test_targets_that_a_model_has_not(quick):
    model = quick.policy()[0]
    with pytest.raises(InputError, match="did you mean 'c_proj'"):
        Lora(targets=("o_proj",)).attach(model, "default", seed=0)
