"""Training that is cut off: what is kept, and that going on changes nothing."""

import errno
import os
import signal
import threading
from dataclasses import replace

import pandas as pd
import pytest
import torch

from llm_bridge.interruption import Terminated, load_state, save_state, termination
from llm_bridge.ppo import Trainer
from theory.errors import InputError
from theory.experiment import run
from theory.presets import lcb


def timeless(frames):
    return pd.concat(frames, ignore_index=True).drop(columns="tokens_per_second")


def test_a_training_that_was_asked_to_stop_goes_on_to_the_same_rows(quick, brief, tmp_path):
    asked = {"steps": 5, "evaluate_every": 2}
    expected = timeless(quick.train(lcb(0.1), brief, [3], **asked))
    world = replace(quick, states=tmp_path / "states", policies=tmp_path / "policies")
    before, frames = signal.getsignal(signal.SIGTERM), []

    def consume():
        for frame in world.train(lcb(0.1), brief, [3], **asked):
            frames.append(frame)
            if len(frames) == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated) as stopped:
        consume()
    assert stopped.value.code == 143
    assert "--resume" in str(stopped.value)
    assert signal.getsignal(signal.SIGTERM) == before
    assert [int(frame.step.iloc[0]) for frame in frames] == [1, 2]
    assert len(list((tmp_path / "states").iterdir())) == 1
    resumed = timeless(world.train(lcb(0.1), brief, [3], **asked))
    pd.testing.assert_frame_equal(resumed, expected)
    assert not list((tmp_path / "states").iterdir())
    assert (tmp_path / "policies" / "LCB-3" / "model.safetensors").exists()


def test_records_of_a_stopped_run_are_completed(quick, brief, tmp_path, monkeypatch):
    world = replace(quick, states=tmp_path / "states")
    options = {"steps": 3, "evaluate_every": 1, "chunk": 1, "out": tmp_path / "records"}
    rollout = Trainer.rollout

    def interrupted(trainer):
        if trainer.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return rollout(trainer)

    monkeypatch.setattr(Trainer, "rollout", interrupted)
    with pytest.raises(Terminated):
        run(world, {"lcb": lcb(0.1)}, brief, [0], **options)
    monkeypatch.setattr(Trainer, "rollout", rollout)
    records = run(world, {"lcb": lcb(0.1)}, brief, [0], resume=True, **options)
    assert records.rows().step.tolist() == [1, 2, 3]


def test_a_full_disk_leaves_the_last_state(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save_state(path, {"step": 1, "weights": torch.ones(2)})

    def full(_, file):
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="the last one is intact"):
        save_state(path, {"step": 2})
    assert load_state(path, "cpu")["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_signals_elsewhere_than_in_the_main_thread_are_left_alone():
    answers = []

    def wait():
        with termination() as asked:
            answers.append(asked())

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert answers == [False]
