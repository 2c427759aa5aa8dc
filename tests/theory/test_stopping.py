"""Worker processes that are asked to stop: all of them do, and resumption completes the run."""

import multiprocessing
import os
import pickle
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joblib import delayed
from joblib.externals.loky import get_reusable_executor

from theory import stopping
from theory.backends import connected
from theory.experiment import run
from theory.presets import vanilla
from theory.stopping import Terminated


@dataclass(frozen=True)
class Walk:
    """Seed 0 asks a process to stop in the middle; then it lingers, deaf to signals or not."""

    victim: str | None = None
    deaf: bool = False

    def __repr__(self):
        return "Walk()"

    @property
    def name(self):
        return "walk"

    def train(self, objective, optimiser, seeds, *, steps, evaluate_every):
        (seed,) = seeds
        for step, gold in enumerate(np.random.default_rng(seed).normal(size=steps)):
            if self.victim and step == 1 and seed == 0:
                if self.deaf:
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.kill(os.getppid() if self.victim == "parent" else os.getpid(), signal.SIGTERM)
            if self.victim and step == 1:
                time.sleep(100)
            yield pd.DataFrame({"seed": [seed], "step": [step], "gold": [gold]})


def go(world, out, **options):
    options = {"steps": 3, "evaluate_every": 1, "chunk": 1, "out": out, "workers": 2} | options
    return run(world, {"vanilla": vanilla()}, None, range(6), **options)


@pytest.mark.parametrize(
    ("victim", "deaf"), [("parent", False), ("worker", False), ("parent", True)]
)
def test_all_processes_stop(victim, deaf, tmp_path, monkeypatch):
    if deaf:
        monkeypatch.setattr(stopping, "PATIENCE", 1.0)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated) as stopped:
        go(Walk(victim, deaf), tmp_path / "cut")
    assert stopped.value.code == 143
    assert "go on with --resume" in str(stopped.value)
    assert not multiprocessing.active_children()
    assert signal.getsignal(signal.SIGTERM) == before
    resumed = go(Walk(), tmp_path / "cut", resume=True, workers=1).rows()
    whole = go(Walk(), tmp_path / "whole", workers=1).rows()
    pd.testing.assert_frame_equal(resumed, whole)


def test_a_worker_has_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    with connected("loky", 2) as pool:
        assert list(pool([delayed(os.getenv)("OMP_NUM_THREADS")] * 2)) == ["1", "1"]
    get_reusable_executor(reuse=True).shutdown(wait=True)
    assert os.environ["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize("through", ["pickle", "distributed"])
def test_what_a_worker_reports_survives_the_way(through):
    """Dask has exceptions restored without a call of their constructors."""
    pytest.importorskip(through)
    stopped = pickle.loads(pickle.dumps(Terminated(Path("state.pt"))))
    assert (stopped.path, stopped.code) == (Path("state.pt"), 143)
    assert str(stopped).endswith("(state in state.pt)")
