"""States of trainings: gone on with to the same rows, or refused by name."""

import errno
import math
from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from llm_bridge.ppo import Trainer
from llm_bridge.settings import Settings
from llm_bridge.states import StateFile
from llm_bridge.text_world import TextWorld
from tests.llm_bridge.damage import copied, damaged
from theory.errors import InputError
from theory.experiment import run
from theory.integrity import add_checksum
from theory.presets import lcb, reward_robust_policy

PPO, EVERY = Settings(batch=8, minibatches=1, epochs=1), 2


def rows_of(world, steps, *, settings=PPO, objective=None, every=EVERY):
    frames = world.train(objective or lcb(0.1), settings, [3], steps=steps, evaluate_every=every)
    return pd.concat(frames, ignore_index=True).drop(columns="tokens_per_second")


class Finished(NamedTuple):
    """A training that ended at step 3: its world, its rows and its state."""

    world: TextWorld
    rows: pd.DataFrame
    state: object


@pytest.fixture(scope="module")
def finished(quick, tmp_path_factory):
    world = replace(quick, states=tmp_path_factory.mktemp("states"))
    rows = rows_of(world, 3)
    (state,) = world.states.glob("*.pt")
    return Finished(world, rows, state)


@pytest.fixture
def again(finished, tmp_path, monkeypatch):
    """The same, in a folder of its own."""
    monkeypatch.setattr("theory.files.flush", lambda *_: None)
    copied(finished.state, tmp_path / finished.state.name)
    return Finished(
        replace(finished.world, states=tmp_path), finished.rows, tmp_path / finished.state.name
    )


def test_a_finished_training_is_read_and_not_trained_again(again, monkeypatch):
    monkeypatch.setattr("llm_bridge.ppo.Trainer.rollout", lambda _: pytest.fail("trained"))
    pd.testing.assert_frame_equal(rows_of(again.world, 3), again.rows)


@pytest.mark.parametrize("steps", [4, 5])
def test_more_steps_give_the_rows_of_an_uninterrupted_training(again, quick, steps):
    longer = rows_of(again.world, steps)
    pd.testing.assert_frame_equal(longer, rows_of(quick, steps))
    assert 3 not in longer.step[:-1].tolist()


def test_what_moves_while_it_trains_goes_on_too(quick, tmp_path):
    world = replace(quick, states=tmp_path)
    chosen = {"objective": reward_robust_policy(0.05), "every": 1}
    rows_of(world, 1, **chosen)
    pd.testing.assert_frame_equal(rows_of(world, 3, **chosen), rows_of(quick, 3, **chosen))


def test_a_schedule_that_ends_elsewhere_begins_anew(quick, tmp_path, capsys):
    world, settings = replace(quick, states=tmp_path), replace(PPO, schedule="cosine")
    rows_of(world, 2, settings=settings)
    found = rows_of(world, 3, settings=settings)
    pd.testing.assert_frame_equal(found, rows_of(quick, 3, settings=settings))
    assert "has a cosine schedule of 2 steps: the training begins anew" in capsys.readouterr().err


def test_fewer_steps_begin_anew(again, quick, capsys):
    pd.testing.assert_frame_equal(rows_of(again.world, 2), rows_of(quick, 2))
    assert "ends at step 3 steps" in capsys.readouterr().err


def test_other_code_is_refused_with_both_names_and_accepted_with_marks(again, monkeypatch):
    before = again.world.code
    monkeypatch.setattr(TextWorld, "code", property(lambda _: "other-code"))
    with pytest.raises(InputError, match=rf"{before}.*other-code.*--accept-code") as refused:
        rows_of(again.world, 5)
    assert str(again.state) in str(refused.value)
    accepted = replace(again.world, accept_code=True)
    rows = rows_of(accepted, 5)
    assert rows.step.tolist() == [1, 2, 4, 5]
    assert rows.code.tolist() == [before, before, "other-code", "other-code"]
    assert rows_of(accepted, 5).code.tolist() == rows.code.tolist()
    assert rows_of(again.world, 5).code.tolist() == rows.code.tolist()


def test_packages_that_moved_are_named(again, monkeypatch):
    monkeypatch.setattr(TextWorld, "code", property(lambda _: "other-code"))
    monkeypatch.setattr("llm_bridge.states.versions", lambda: {"torch": "99"})
    with pytest.raises(InputError, match=r"torch 2\.\S* \(now 99\)"):
        rows_of(again.world, 3)


def test_the_state_of_another_training_is_refused(again, quick, tmp_path):
    other = StateFile.within(tmp_path, "state", "another", again.world.code, accept=False)
    copied(again.state, other.path)
    with pytest.raises(InputError, match="state") as refused:
        other.load("cpu")
    assert str(other.path) in str(refused.value)


def outcome(world, expected, path):
    """The right rows, or an error that names the file and what to do."""
    try:
        found = rows_of(world, 3)
    except InputError as error:
        told = str(error)
    else:
        pd.testing.assert_frame_equal(found, expected)
        return True
    assert str(path) in told
    assert "delete it" in told
    return False


def test_a_damaged_state_is_refused_by_name(again, finished):
    for number in range(60):
        copied(finished.state, again.state)
        told = damaged(again.state, np.random.default_rng([4, number]))
        if "lost" in told:
            continue
        assert not outcome(again.world, again.rows, again.state), told


def tensors(content):
    return content["state"]["trainer"]["actor"]


def rename(content, rng):
    inside = tensors(content)
    inside["renamed"] = inside.pop(sorted(inside)[int(rng.integers(len(inside)))])


def lose(content, rng):
    inside = tensors(content)
    inside.pop(sorted(inside)[int(rng.integers(len(inside)))])


def reshape(content, rng):
    inside = tensors(content)
    name = sorted(inside)[int(rng.integers(len(inside)))]
    inside[name] = inside[name].reshape(-1)[:-1].clone()


def widen(content, rng):
    inside = tensors(content)
    name = sorted(inside)[int(rng.integers(len(inside)))]
    inside[name] = inside[name].double()


def poison(content, rng):
    inside = tensors(content)
    name = sorted(inside)[int(rng.integers(len(inside)))]
    inside[name] = torch.full_like(inside[name], [math.nan, math.inf][int(rng.integers(2))])


def lose_moments(content, rng):
    inside = content["state"]["trainer"]["adam"]
    inside.pop(sorted(inside)[int(rng.integers(len(inside)))])


def poison_moments(content, rng):
    inside = content["state"]["trainer"]["adam"]
    own = inside[sorted(inside)[int(rng.integers(len(inside)))]]
    own[["exp_avg", "exp_avg_sq"][int(rng.integers(2))]].fill_(math.nan)


def lose_part(content, rng):
    inside = [content, content["state"], content["state"]["trainer"]][int(rng.integers(3))]
    inside.pop(sorted(inside)[int(rng.integers(len(inside)))])


def lose_frame(content, rng):
    content["state"]["frames"].pop(int(rng.integers(len(content["state"]["frames"]))))


def lose_frames(content, rng):
    content["state"]["frames"] = []


def other_step(content, rng):
    content["state"]["trainer"]["step"] += int(rng.integers(1, 3)) * (-1) ** int(rng.integers(2))


def other_rows(content, rng):
    step, code, rows = content["state"]["frames"][-1]
    content["state"]["frames"][-1] = (step, code, [{**rows[0], "step": step + 1}])


def other_beta(content, rng):
    content["state"]["trainer"]["log_beta"] = math.nan


def other_kind(content, rng):
    inside = content["state"]["trainer"]
    inside[sorted(inside)[int(rng.integers(len(inside)))]] = ["text", 3.5, []][int(rng.integers(3))]


CONTRIVED = (
    rename, lose, reshape, widen, poison, lose_moments, poison_moments, lose_part, lose_frame,
    lose_frames, other_step, other_rows, other_beta, other_kind,
)  # fmt: skip


@pytest.mark.slow
def test_a_state_that_does_not_fit_is_refused_though_its_checksum_does(again):
    content = torch.load(again.state, weights_only=True)
    for number in range(70):
        rng, changed = np.random.default_rng([5, number]), deepcopy(content)
        change = CONTRIVED[number % len(CONTRIVED)]
        change(changed, rng)
        torch.save(changed, again.state)
        add_checksum(again.state)
        held = outcome(again.world, again.rows, again.state)
        assert not held or change is other_kind, change.__name__


def test_code_in_a_state_is_not_run(again):
    class Evil:
        def __reduce__(self):
            return pytest.fail, ("run",)

    torch.save({"state": Evil()}, again.state)
    add_checksum(again.state)
    assert not outcome(again.world, again.rows, again.state)


def test_records_of_a_finished_run_are_extended(quick, tmp_path, monkeypatch):
    """By the steps that are missing, to the rows of a run of so many from the start."""
    world, rolled = replace(quick, states=tmp_path / "states"), []
    asked = {"objectives": {"lcb": lcb(0.1)}, "optimiser": PPO, "seeds": [3], "evaluate_every": 2}
    run(world, **asked, steps=3, out=tmp_path / "out")
    rollout = Trainer.rollout
    monkeypatch.setattr(Trainer, "rollout", lambda own: (rolled.append(own.step), rollout(own))[1])
    longer = run(world, **asked, steps=5, out=tmp_path / "out", resume=True).rows()
    assert rolled == [3, 4]
    whole = run(quick, **asked, steps=5, out=tmp_path / "whole").rows()
    pd.testing.assert_frame_equal(
        *(rows.drop(columns="tokens_per_second") for rows in (longer, whole))
    )


def test_a_full_disk_leaves_the_last_state(tmp_path, monkeypatch):
    file = StateFile(tmp_path / "state.pt", "training", "code")
    file.save({"step": 1, "weights": torch.ones(2)})

    def full(_, place):
        place.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="the last one is intact"):
        file.save({"step": 2})
    assert file.load("cpu")[0]["step"] == 1
    assert [place.name for place in tmp_path.iterdir()] == ["state.pt"]
