"""The experiment contract on a world of a few lines: records, resumption, failures."""

import errno
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from theory import record_files
from theory.errors import InputError
from theory.experiment import run
from theory.files import WriteError
from theory.presets import ensemble_mean, vanilla
from theory.records import Records, concatenate


@dataclass(frozen=True)
class Coin:
    """Each seed walks its own way; one seed can be made to fail, or to interrupt."""

    fail_at: int | None = None
    stop_at: int | None = None

    @property
    def name(self):
        return "coin"

    def train(self, objective, optimiser, seeds, *, steps, evaluate_every):
        walks = [np.random.default_rng([s, 1]).normal(size=steps).cumsum() for s in seeds]
        for step in range(evaluate_every, steps + 1, evaluate_every):
            if self.fail_at in seeds and step == steps:
                raise ArithmeticError("NaN loss")
            if self.stop_at in seeds and step == steps:
                raise KeyboardInterrupt
            gold = [walk[step - 1] for walk in walks]
            yield pd.DataFrame({"seed": list(seeds), "step": step, "gold": gold})


OBJECTIVES = {"vanilla": vanilla(), "mean": ensemble_mean()}


def go(world, out, **options):
    settings = {"steps": 6, "evaluate_every": 2, "chunk": 2, "seeds": range(5)} | options
    return run(world, OBJECTIVES, None, settings.pop("seeds"), out=out, **settings)


def sort(rows):
    return (
        rows.sort_values(["objective", "seed", "step"]).drop(columns="cell").reset_index(drop=True)
    )


def test_every_evaluation_is_recorded(tmp_path):
    rows = go(Coin(), tmp_path / "a").rows()
    assert len(rows) == 2 * 5 * 3
    assert set(rows.objective) == {"vanilla", "mean"}
    assert set(rows.world) == {"coin"}


def test_chunks_and_workers_change_nothing(tmp_path):
    alone = go(Coin(), tmp_path / "a", chunk=1).rows()
    together = go(Coin(), tmp_path / "b", chunk=5, workers=2).rows()
    pd.testing.assert_frame_equal(sort(alone), sort(together))


def test_resumption_gives_the_numbers_of_an_uninterrupted_run(tmp_path):
    whole = go(Coin(), tmp_path / "whole").rows()
    with pytest.raises(KeyboardInterrupt):
        go(CoinThatStops(stop_at=2), tmp_path / "cut")
    records = Records.open(tmp_path / "cut")
    assert len(records.finished()) == 2
    assert len(records.rows(partial=True)) > len(records.rows())
    resumed = go(CoinThatStops(), tmp_path / "cut", resume=True).rows()
    pd.testing.assert_frame_equal(sort(whole), sort(resumed))
    assert not list((tmp_path / "cut").glob("*.part"))


@dataclass(frozen=True)
class CoinThatStops(Coin):
    """Prints alike whether it stops or not, as a world does that is killed from outside."""

    def __repr__(self):
        return "Coin()"


def test_a_failed_cell_is_named_and_the_others_stay(tmp_path):
    with pytest.raises(
        RuntimeError, match=r"2 of 6 cells failed(.|\n)*vanilla\.2-3(.|\n)*NaN loss"
    ):
        go(Coin(fail_at=3), tmp_path / "a")
    records = Records.open(tmp_path / "a")
    assert records.finished() == {f"coin.{o}.{c}" for o in OBJECTIVES for c in ("0-1", "4-4")}


def test_several_worlds_are_swept_over(tmp_path):
    worlds = {"plain": Coin(), "other": Coin(fail_at=99)}
    rows = go(worlds, tmp_path / "a").rows()
    assert rows.groupby("world").size().to_dict() == {"plain": 30, "other": 30}
    alone = go(Coin(), tmp_path / "b").rows().drop(columns="world")
    swept = rows[rows.world == "plain"].drop(columns="world")
    pd.testing.assert_frame_equal(sort(swept), sort(alone))


@pytest.mark.parametrize("backend", ["threading", "dask"])
def test_a_backend_changes_nothing(backend, tmp_path):
    """Dask on a real cluster of two processes of this machine."""
    if backend == "dask":
        pytest.importorskip("distributed")
    rows = go(Coin(), tmp_path / backend, workers=2, backend=backend).rows()
    pd.testing.assert_frame_equal(sort(rows), sort(go(Coin(), tmp_path / "here").rows()))


def test_a_cell_that_fails_on_a_cluster_is_named(tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(RuntimeError, match=r"2 of 6 cells failed(.|\n)*NaN loss"):
        go(Coin(fail_at=3), tmp_path / "a", workers=2, backend="dask")
    assert len(Records.open(tmp_path / "a").finished()) == 4


def test_a_cluster_package_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"'ray', got not installed; pip install"):
        go(Coin(), tmp_path / "a", backend="ray")


def test_names_that_would_share_a_file_are_refused(tmp_path):
    with pytest.raises(InputError, match="names that differ"):
        run(Coin(), {"a b": vanilla(), "a_b": vanilla()}, None, [0], steps=1, evaluate_every=1,
            out=tmp_path / "a")  # fmt: skip


def test_nearby_strengths_are_told_apart_on_resumption(tmp_path):
    def go_at(beta, **options):
        return run(Coin(), {"v": vanilla(beta)}, None, range(2), steps=2, evaluate_every=1,
                   out=tmp_path / "a", **options)  # fmt: skip

    go_at(0.1234567)
    with pytest.raises(InputError, match=r"v\.strength\.beta 0\.12345674 \(it was 0\.1234567\)"):
        go_at(0.12345674, resume=True)


def test_labels_are_text(tmp_path):
    records = run(Coin(), {"0.4": vanilla(), "None": vanilla()}, None, [0, 1], steps=2,
                  evaluate_every=1, out=tmp_path / "a")  # fmt: skip
    assert len(records.select(objective="0.4", step=2)) == 2
    assert len(records.select(objective="None")) == 4


def test_a_finished_cell_is_not_computed_again(tmp_path):
    before = go(Coin(), tmp_path / "a").rows()
    tasks = []

    def count(outcomes):
        tasks.extend(outcomes)
        return tasks

    after = go(Coin(), tmp_path / "a", resume=True, progress=count, prepare=pytest.fail).rows()
    assert tasks == []
    pd.testing.assert_frame_equal(before, after)


def test_rows_are_selected_by_value(tmp_path):
    records = go(Coin(), tmp_path / "a")
    assert set(records.select(step=-1).step) == {6}
    assert len(records.select(objective="mean", step=2)) == 5
    with pytest.raises(InputError, match="did you mean 'objective'"):
        records.select(objectiv="mean")
    with pytest.raises(InputError, match="a recorded value"):
        records.select(objective="lcb")


def test_a_folder_is_not_overwritten(tmp_path):
    go(Coin(), tmp_path / "a")
    with pytest.raises(InputError, match="empty folder"):
        go(Coin(), tmp_path / "a")
    with pytest.raises(InputError, match=r"evaluate_every 3 \(it was 2\)"):
        go(Coin(), tmp_path / "a", evaluate_every=3, resume=True)
    with pytest.raises(InputError, match=r"steps 4 \(it was 6, and can only grow\)"):
        go(Coin(), tmp_path / "a", steps=4, resume=True)


def test_a_finished_run_is_extended_to_the_rows_of_a_longer_one(tmp_path):
    go(CoinThatStops(), tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        go(CoinThatStops(stop_at=2), tmp_path / "a", steps=8, resume=True)
    assert Records.open(tmp_path / "a").config["steps"] == 8
    assert set(Records.open(tmp_path / "a").rows().seed) == {0, 1}
    extended = go(CoinThatStops(), tmp_path / "a", steps=8, resume=True).rows()
    pd.testing.assert_frame_equal(extended, go(Coin(), tmp_path / "b", steps=8).rows())


def test_steps_that_were_asked_for_by_mistake_can_be_taken_back(tmp_path):
    before = go(Coin(), tmp_path / "a").rows()

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(Coin(), tmp_path / "a", steps=10**6, resume=True, prepare=interrupted)
    pd.testing.assert_frame_equal(go(Coin(), tmp_path / "a", resume=True).rows(), before)


def test_settings_are_compared_before_anything_is_prepared(tmp_path):
    go(Coin(), tmp_path / "a")
    with pytest.raises(InputError, match=r"worlds\.coin\.fail_at 99 \(it was None\)"):
        go(Coin(fail_at=99), tmp_path / "a", resume=True, prepare=pytest.fail)


def test_a_second_run_is_refused_while_the_first_is_at_work(tmp_path):
    script = "import sys; from tests.theory.test_experiment import Coin, go; from pathlib import " \
             "Path; go(Coin(), Path(sys.argv[1]), resume=True)"  # fmt: skip
    found = []

    def meanwhile():
        found.append(
            subprocess.run([sys.executable, "-c", script, str(tmp_path / "a")], text=True,
                           capture_output=True, check=False, cwd=Path(__file__).parents[2])
        )  # fmt: skip

    go(Coin(), tmp_path / "a", prepare=meanwhile)
    assert "no other process is at work" in found[0].stderr
    assert len(Records.open(tmp_path / "a").rows()) == 2 * 5 * 3


def test_a_disk_that_is_full_stops_the_run_and_loses_nothing(tmp_path, monkeypatch):
    expected = go(Coin(), tmp_path / "whole").rows()
    put, calls = record_files.put, []

    def full(file, path):
        calls.append(path)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(file, path)

    monkeypatch.setattr(record_files, "put", full)
    with pytest.raises(WriteError, match=r"coin.*\.csv \(No space left on device\).*--out"):
        go(Coin(), tmp_path / "a")
    assert len(calls) == 3
    assert len(Records.open(tmp_path / "a").finished()) == 2
    pd.testing.assert_frame_equal(go(Coin(), tmp_path / "a", resume=True).rows(), expected)


def test_records_can_be_concatenated(tmp_path):
    both = concatenate([go(Coin(), tmp_path / name) for name in ("a", "b")])
    assert set(both.experiment) == {"a", "b"}
    with pytest.raises(InputError, match="records"):
        Records.open(tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"evaluate_every": 0}, {"chunk": 0}, {"seeds": []}, {"seeds": [1, 1]}]
)
def test_bad_input(wrong, tmp_path):
    with pytest.raises(InputError):
        go(Coin(), tmp_path / "a", **wrong)
