"""Training that is cut off: what is kept, and that going on changes nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from llm_bridge.commands.parsing import parsed
from llm_bridge.commands.training import compare
from llm_bridge.embedded.tiny import build_model, build_tokenizer
from llm_bridge.interruption import termination
from llm_bridge.ppo import Trainer
from theory.experiment import run
from theory.presets import lcb
from theory.records import Records
from theory.stopping import Terminated


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
    assert len(list((tmp_path / "states").iterdir())) == 1
    assert (tmp_path / "policies" / "LCB-0.1-3" / "model.safetensors").exists()


def test_a_signal_at_the_last_row_of_a_seed_stops_before_the_next(quick, brief, tmp_path):
    asked = {"steps": 2, "evaluate_every": 1}
    expected = timeless(quick.train(lcb(0.1), brief, [3, 4], **asked))
    world, frames = replace(quick, states=tmp_path / "states"), []

    def consume():
        for frame in world.train(lcb(0.1), brief, [3, 4], **asked):
            frames.append(frame)
            if len(frames) == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated):
        consume()
    pd.testing.assert_frame_equal(timeless(frames), expected[:2])
    resumed = timeless(world.train(lcb(0.1), brief, [3, 4], **asked))
    pd.testing.assert_frame_equal(resumed, expected)


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


def test_signals_elsewhere_than_in_the_main_thread_are_left_alone():
    answers = []

    def wait():
        with termination(Path("unused")) as asked:
            answers.append(asked())

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert answers == [False]


def rows_in(file):
    return len(file.read_text().splitlines()) - 1


def workers_of(pid):
    """Not joblib's trackers of resources, which go by themselves soon after."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [child for child in children if "Loky" in Path(f"/proc/{child}/cmdline").read_text()]


@pytest.fixture
def comparison(tmp_path):
    """A comparison of a model of random weights on two workers, as arguments."""
    policy, tokenizer = tmp_path / "policy", build_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        build_model("tiny", tokenizer).save_pretrained(policy)
    tokenizer.save_pretrained(policy)
    prompts = tmp_path / "prompts.csv"
    pd.DataFrame({"prompt": ["garden :", "music :"]}).to_csv(prompts, index=False)
    options = {
        "policy": policy, "prompts": prompts, "cache": tmp_path / "cache", "out": tmp_path / "out",
        "labelling.pairs": 40, "ensemble.members": 2, "ensemble.kind": "heads", "references": 8,
        "sampling.tokens": 8, "seeds": 2, "objective": "vanilla", "steps": 60, "ppo.batch": 8,
        "evaluate-every": 1, "workers": 2,
    }  # fmt: skip
    pairs = (part for name, value in options.items() for part in (f"--{name}", str(value)))
    return ["compare", *pairs]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for children in /proc")
def test_workers_stop_with_the_command_and_go_on_with_it(comparison, tmp_path):
    """Two seeds in two processes: the rows are those of one process that nothing interrupts."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "llm_bridge", *comparison]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and sum(map(rows_in, out.glob("*.part"))) < 3:
            time.sleep(0.05)
        workers = workers_of(process.pid)
        process.send_signal(signal.SIGTERM)
        message = process.communicate()[1]
    assert process.returncode == 143
    assert message.splitlines()[-1].startswith("stopped on request; go on with --resume")
    assert len(workers) == 2
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert list((out / "states").iterdir())
    options = replace(parsed(comparison), workers=1)
    compare(replace(options, resume=True))
    compare(replace(options, out=tmp_path / "whole"))
    resumed, whole = (
        Records.open(folder).rows().drop(columns="tokens_per_second")
        for folder in (out, tmp_path / "whole")
    )
    pd.testing.assert_frame_equal(resumed, whole)
