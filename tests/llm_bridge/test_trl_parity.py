"""TRL's PPO, step by step: a recording of its PPOTrainer against `TRLTrainer`."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from benchmarks import record_trl
from benchmarks.record_trl import (
    BATCH,
    BETA,
    CASES,
    EOS,
    OUT,
    PAD,
    PENALTY,
    RATE,
    ROLLOUTS,
    TEMPERATURE,
    TOKENS,
    WORDS,
)
from benchmarks.trl_peer import has_trl, make_tokenizer
from llm_bridge.lm.sampling import Sampling
from llm_bridge.lm.tokens import Batch
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.trl_ppo import SETTINGS, Rewards, TRLTrainer, actor_with, one_beyond
from tests.tolerance import FLOAT32, VALUE
from theory.errors import InputError
from theory.kl_estimators import exact_kl, k3
from theory.presets import vanilla
from theory.scores import Scores

PROMPTS = ["1 2", "3 4 5"]
LIMIT = 16
WITHIN = {torch.float64: VALUE, torch.float32: FLOAT32}
"""Largest differences from the recording, of 1 + |x|. Measured on AVX-512, on AVX2, and without
either: in float64 3.7e-7, the same on all three (TRL has temperature + 1e-7, and `logprobs` in
float32); in float32 1.6e-6, which rounding moves."""


@pytest.fixture(scope="module")
def recorded():
    return load_file(OUT)


class Watched(TRLTrainer):
    """Keeps the losses of every step."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.met = []

    def losses(self, *args):
        surrogate, value = super().losses(*args)
        self.met.append((float(surrogate.loss.detach()), float(value.detach())))
        return surrogate, value


def make_trainer(score, options, *, initial=None, dtype=torch.float64, **changed):
    policy, critic = record_trl.make_models(dtype=dtype)
    if initial is not None:
        vector_to_parameters(
            initial.to(dtype, copy=True), [*policy.parameters(), *critic.parameters()]
        )
    actor = actor_with(policy, critic, temperature=TEMPERATURE)
    zeros, one = torch.zeros(len(PROMPTS), 1, dtype=dtype), torch.ones(1, dtype=dtype)
    table = Scores(torch.zeros(len(PROMPTS), 8, 1, dtype=dtype))
    index = {prompt: row for row, prompt in enumerate(PROMPTS)}
    normaliser = Normaliser(score, index, zeros, one, table)
    settings = replace(SETTINGS, **{"batch": BATCH, "learning_rate": RATE, **changed})
    return Watched(
        actor, policy.eval(), make_tokenizer(WORDS), normaliser, None, PROMPTS, vanilla(BETA),
        settings, sampling=Sampling(TOKENS, temperature=TEMPERATURE), limit=LIMIT, seed=0,
        options=options,
    )  # fmt: skip


def batch_of(step):
    """As `llm_bridge` has it, the tokens of a recorded rollout."""
    queries, responses = step["queries"].long(), step["responses"].long()
    return Batch(queries, queries != PAD, responses, responses != PAD)


def parts_of(recorded, name, dtype=torch.float64):
    """Rollouts of a case, and its parameters at the end."""
    steps = [
        {key.rsplit("/", 1)[1]: x.to(dtype) if x.is_floating_point() else x
         for key, x in recorded.items()
         if key.startswith(f"{name}/{row}/")}
        for row in range(ROLLOUTS)
    ]  # fmt: skip
    return steps, recorded[f"{name}/final"]


def apart(found, expected, initial):
    """Norm of the difference of two updates, as a share of the second.

    Biases of keys are left out. Attention does not depend on them, so that their gradients are
    rounding, of which Adam makes whole steps.
    """
    counted = []
    for model in record_trl.make_models():
        for name, parameter in model.named_parameters():
            kept = torch.ones_like(parameter)
            if name.endswith("c_attn.bias"):
                kept.view(3, -1)[1] = 0
            counted.append(kept)
    kept = parameters_to_vector(counted)
    return float((kept * (found - expected)).norm() / (kept * (expected - initial)).norm())


@pytest.mark.machine
@pytest.mark.parametrize(("dtype", "within"), WITHIN.items())
@pytest.mark.parametrize("name", CASES)
def test_a_training_of_trl_is_repeated(name, dtype, within, recorded, monkeypatch):
    steps, final = parts_of(recorded, name, dtype)
    case, initial = CASES[name], recorded["initial"]
    scores = iter([Scores(step["scores"][:, None]) for step in steps])
    batches = iter([batch_of(step) for step in steps])
    orders = iter([order.long() for step in steps for order in step["orders"]])
    monkeypatch.setattr("llm_bridge.ppo.draw", lambda *_, **__: next(batches))
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: next(orders))
    trainer = make_trainer(
        lambda *_: next(scores),
        Rewards(case["kl_estimator"], case["whiten_rewards"], PENALTY),
        initial=initial, dtype=dtype, epochs=case["epochs"], minibatches=case["minibatches"],
    )  # fmt: skip

    def close(found, expected):
        torch.testing.assert_close(found, expected, atol=within, rtol=within)

    for step, (_, row, rolled) in zip(steps, trainer.run(ROLLOUTS), strict=True):
        live = rolled.batch.live
        wide = one_beyond(live)
        close(rolled.reading.log_prob[live], step["logprobs"][live])
        close(rolled.reference[live], step["ref_logprobs"][live])
        close(rolled.reading.value[wide], step["values"][wide])
        found = trainer.advantage(rolled, trainer.shape(rolled))
        close(found.returns, step["returns"])
        close(found.advantages, step["advantages"])
        expected = torch.stack([step["policy_losses"], step["value_losses"]], -1).view(-1, 2)
        close(torch.tensor(trainer.met, dtype=dtype), expected)
        trainer.met = []
        assert row["clip_fraction"] > 0
    ended = parameters_to_vector(trainer.parameters).detach()
    assert apart(ended, final, initial) < within
    assert next(orders, None) is None


def test_the_recording_has_what_tells_semantics_apart(recorded):
    """Ends at many places, rows without one, more than one width of prompts, and clipping."""
    assert set(recorded) == {"initial"} | {
        f"{name}/{key}" for name in CASES
        for key in ("final", *(f"{row}/{x}" for row in range(ROLLOUTS) for x in (
            "queries", "responses", "scores", "orders", "policy_losses", "value_losses",
            *record_trl.FLOATS)))
    }  # fmt: skip
    for name in CASES:
        steps, _ = parts_of(recorded, name)
        batches = [batch_of(step) for step in steps]
        lengths = torch.cat([batch.live.sum(1) for batch in batches])
        ended = torch.cat([(batch.responses == EOS).any(1) for batch in batches])
        assert len(set(lengths[ended].tolist())) >= 5
        assert not ended.all()
        assert len({int(size) for batch in batches for size in batch.prompt_mask.sum(1)}) > 1


@pytest.mark.skipif(not has_trl(), reason="needs TRL 1.12, the last with PPO")
def test_trl_still_does_what_was_recorded(recorded, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "benchmarks.record_trl", str(tmp_path / "again.safetensors")],
        check=True, cwd=OUT.parents[3], env={**os.environ, "TRL_EXPERIMENTAL_SILENCE": "1"},
    )  # fmt: skip
    again = load_file(tmp_path / "again.safetensors")
    assert set(again) == set(recorded)
    for name, expected in recorded.items():
        if name.endswith("final"):
            assert apart(again[name], expected, recorded["initial"]) < FLOAT32
        else:
            torch.testing.assert_close(again[name], expected, atol=FLOAT32, rtol=FLOAT32)


def test_it_trains_on_rollouts_of_its_own():
    def of_small_numbers(_, responses):
        found = [[1 if int(word) < WORDS // 2 else -1 for word in text.split()]
                 for text in responses]  # fmt: skip
        return Scores(torch.tensor([[float(sum(row))] for row in found], dtype=torch.float64))

    trainer = make_trainer(of_small_numbers, Rewards(), epochs=2, minibatches=2)
    rows = [row for _, row, _ in trainer.run(20)]
    assert rows[-1]["proxy"] > rows[0]["proxy"] + 2
    assert trainer.adam.param_groups[0]["lr"] == pytest.approx(RATE / 20)
    assert abs(rows[0]["kl"]) < FLOAT32 < rows[-1]["kl_k3"]


def test_k3_as_a_reward_has_the_gradient_of_a_difference_of_kls():
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(size=6), requires_grad=True)
    policy, reference = logits.log_softmax(-1), torch.tensor(rng.normal(size=6)).log_softmax(-1)
    rewarded = -(policy.exp().detach() * k3(policy - reference).detach() * policy).sum()
    said = exact_kl(reference, policy) - exact_kl(policy, reference)
    torch.testing.assert_close(
        *(torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (rewarded, said))
    )


def test_what_trl_lacks_is_refused():
    with pytest.raises(InputError, match="kl_estimator"):
        Rewards(kl_estimator="k2")
    for changed in ({"accumulate": 2}, {"whiten": False}):
        with pytest.raises(InputError, match="settings"):
            make_trainer(lambda *_: None, Rewards(), **changed)
