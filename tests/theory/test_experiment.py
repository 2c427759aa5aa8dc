"""The experiment contract on a world of a few lines: records, resumption, failures."""

import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from theory.errors import InputError
from theory.experiment import run
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
    with pytest.raises(InputError, match="another value of objectives"):
        go_at(0.12345674, resume=True)


def test_labels_are_text(tmp_path):
    records = run(Coin(), {"0.4": vanilla(), "None": vanilla()}, None, [0, 1], steps=2,
                  evaluate_every=1, out=tmp_path / "a")  # fmt: skip
    assert len(records.select(objective="0.4", step=2)) == 2
    assert len(records.select(objective="None")) == 4


def test_a_finished_cell_is_not_computed_again(tmp_path):
    go(Coin(), tmp_path / "a")
    for path in (tmp_path / "a").glob("*.csv"):
        path.write_text(path.read_text().replace("mean", "kept"))
    rows = go(Coin(), tmp_path / "a", resume=True).rows()
    assert set(rows.objective) == {"vanilla", "kept"}


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
    with pytest.raises(InputError, match=r"steps \d+ \(it was \d+\)"):
        go(Coin(), tmp_path / "a", steps=8, resume=True)


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
