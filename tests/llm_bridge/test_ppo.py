"""Training a language model: what a step does, and that an interruption changes nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from llm_bridge.lm.lora import Lora
from llm_bridge.lm.sampling import Sampling
from llm_bridge.settings import Settings
from llm_bridge.states import StateFile
from tests.tolerance import EXACT, FLOAT32
from theory.errors import InputError
from theory.experiment import run
from theory.penalties import TargetKL
from theory.presets import ensemble_mean, lcb, reward_robust_policy, vanilla, variance_aware

pytestmark = pytest.mark.machine

COLUMNS = {
    "gold", "proxy", "kl", "kl_k3", "entropy", "length", "beta", "member_std", "member_0",
    "member_2", "clip_fraction", "value_loss", "policy_loss", "grad_norm", "tokens_per_second",
}  # fmt: skip


def rows_of(trainer, steps):
    return [row for _, row, _ in trainer.run(steps)]


def parameters(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.parameters])


def test_the_policy_starts_at_the_reference_and_leaves_it(quick, brief):
    trainer = quick.trainer(ensemble_mean(0.05), brief, 0)
    before = parameters(trainer).clone()
    rows = rows_of(trainer, 3)
    assert abs(rows[0]["kl"]) < FLOAT32
    assert rows[2]["kl_k3"] > 0
    assert not torch.equal(before, parameters(trainer))
    assert set(rows[0]) >= COLUMNS
    reference = quick.policy()[0]
    assert not any(p.requires_grad for p in reference.parameters())


def timeless(rows):
    return [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in rows]


@pytest.mark.parametrize(
    ("objective", "changed"),
    [
        (lcb(TargetKL(0.5)), {}),
        (reward_robust_policy(0.05), {"lora": Lora(4), "exact_kl": True}),
        (variance_aware(0.05), {"critic": "separate", "precision": "bfloat16"}),
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    objective, changed, quick, brief, tmp_path
):
    settings = replace(brief, **changed)
    whole = quick.trainer(objective, settings, 1)
    expected = timeless(rows_of(whole, 4))
    first = quick.trainer(objective, settings, 1)
    rows_of(first, 2)
    file = StateFile(tmp_path / "state.pt", "training", "code")
    file.save(first.state())
    second = quick.trainer(objective, settings, 1)
    second.load(file.load("cpu")[0])
    assert timeless(rows_of(second, 4)) == expected[2:]
    assert torch.equal(parameters(second), parameters(whole))


def test_parts_of_a_minibatch_add_up(quick, brief):
    ends = []
    for accumulate in (1, 4):
        settings = replace(brief, accumulate=accumulate, minibatches=1, epochs=1)
        trainer = quick.trainer(variance_aware(0.1), settings, 0)
        rolled = trainer.rollout()
        trainer.update(rolled, trainer.advantage(rolled, trainer.shape(rolled)))
        ends.append(torch.cat([p.grad.flatten() for p in trainer.parameters]))
    torch.testing.assert_close(*ends, atol=FLOAT32, rtol=FLOAT32)


def test_advantages_are_whitened_over_live_tokens(quick, brief):
    trainer = quick.trainer(vanilla(0.1), brief, 0)
    rolled = trainer.rollout()
    found = trainer.advantage(rolled, trainer.shape(rolled))
    live = found.advantages[rolled.batch.live]
    assert abs(float(live.mean())) < FLOAT32
    assert abs(float(live.std(correction=0)) - 1) < FLOAT32
    raw = replace(brief, whiten=False, lam=1.0)
    trainer.settings = raw
    plain = trainer.advantage(rolled, trainer.shape(rolled))
    totals = trainer.shape(rolled).sum(1)
    torch.testing.assert_close(plain.returns[:, 0], totals, atol=FLOAT32, rtol=FLOAT32)


def test_beta_moves_towards_a_target(quick, brief):
    settings = replace(brief, learning_rate=1e-4)
    trainer = quick.trainer(ensemble_mean(TargetKL(1.0)), settings, 0)
    rows = rows_of(trainer, 3)
    assert rows[0]["beta"] == pytest.approx(0.1, abs=EXACT)
    assert rows[2]["beta"] < rows[1]["beta"] < rows[0]["beta"]


def test_the_experiment_contract(quick, brief, tmp_path):
    studies = {"mean": ensemble_mean(0.05), "aware": variance_aware(0.05)}
    settings = {"seeds": [0, 1], "steps": 3, "evaluate_every": 2, "chunk": 1}
    records = run(quick, studies, brief, out=tmp_path / "a", **settings)
    rows = records.rows()
    assert sorted(rows.step.unique()) == [1, 2, 3]
    assert rows.groupby(["objective", "seed"]).size().tolist() == [3] * 4
    assert rows.text.str.contains(":").all()
    again = run(quick, studies, brief, out=tmp_path / "b", **settings).rows()
    columns = sorted(set(rows) - {"tokens_per_second"})
    pd.testing.assert_frame_equal(rows[columns], again[columns])


def test_a_loss_that_is_not_finite_stops_the_run(quick, brief):
    trainer = quick.trainer(vanilla(0.1), brief, 0)
    rolled = trainer.rollout()
    found = trainer.advantage(rolled, trainer.shape(rolled))
    broken = found._replace(advantages=found.advantages * np.nan)
    with pytest.raises(InputError, match=r"loss.*finite"):
        trainer.update(rolled, broken)


def test_a_policy_that_is_not_what_is_sampled_is_warned_of(quick, brief):
    with pytest.warns(UserWarning, match="of the uncut policy"):
        replace(quick, sampling=Sampling(10, top_p=0.9)).trainer(vanilla(0.1), brief, 0)


@pytest.mark.parametrize("changed", [{"charge": "spread"}, {"lam": 0.95}])
def test_biased_charges_are_warned_of(changed, quick, brief):
    settings = replace(brief, **changed)
    with pytest.warns(UserWarning, match="biased unless"):
        quick.trainer(variance_aware(0.1), settings, 0)
    quick.trainer(vanilla(0.1), settings, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gamma": 3.0},
        {"charge": "nowhere"},
        {"batch": 10, "minibatches": 4},
        {"clip": 0.0},
        {"epochs": 0},
    ],
)
def test_bad_settings(wrong):
    with pytest.raises(InputError):
        Settings(**wrong)
