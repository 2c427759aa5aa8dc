"""Trackers: what they are shown of a training, and that they change nothing of it."""

from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import pandas as pd
import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from llm_bridge import trackers
from llm_bridge.commands.options import World
from llm_bridge.commands.training import Compare, compare
from llm_bridge.trackers import Tracked, check_tracker
from theory.errors import InputError
from theory.presets import lcb

RUNS = []


class Notebook(GeneralTracker):
    """Keeps what it is told."""

    name = "notebook"
    requires_logging_directory = True

    def __init__(self, run_name, logging_dir, **_):
        super().__init__()
        self.run, self.folder, self.rows, self.done = run_name, Path(logging_dir), [], False
        RUNS.append(self)

    @property
    def tracker(self):
        return self.rows

    def store_init_configuration(self, values):
        self.config = values

    def log(self, values, step=None, **_):
        self.rows.append({"step": step, **values})

    def finish(self):
        self.done = True


@pytest.fixture
def notebooks(monkeypatch):
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "notebook", Notebook)
    RUNS.clear()
    return RUNS


def test_every_row_is_shown_with_its_text_and_settings(quick, brief, notebooks, tmp_path):
    asked = {"steps": 3, "evaluate_every": 2}
    world = Tracked(quick, "notebook", tmp_path)
    assert (repr(world), world.name) == (repr(quick), quick.name)
    frames = list(world.train(lcb(0.1), brief, [0, 1], **asked))
    assert [book.run for book in notebooks] == ["LCB-0.1-0", "LCB-0.1-1"]
    for seed, book in enumerate(notebooks):
        mine = pd.concat([frame for frame in frames if frame.seed.iloc[0] == seed])
        shown = pd.DataFrame(book.rows).assign(seed=seed)[list(mine)]
        pd.testing.assert_frame_equal(shown, mine.reset_index(drop=True))
        assert all(":" in row["text"] for row in book.rows)
        assert (book.config["batch"], book.config["controller.start"]) == (16, 0.1)
        assert (book.config["seed"], book.config["objective"]) == (seed, repr(lcb(0.1)))
        assert all(isinstance(x, bool | int | float | str) for x in book.config.values())
        assert (book.done, book.folder) == (True, tmp_path)


def test_a_training_that_fails_ends_its_run(quick, brief, notebooks, tmp_path):
    broken = replace(brief, batch=16, learning_rate=1e30)
    world = Tracked(quick, "notebook", tmp_path)
    with pytest.raises(InputError, match="finite"):
        list(world.train(lcb(0.1), broken, [0], steps=5, evaluate_every=1))
    assert notebooks[0].done


def test_the_command_shows_its_rows(quick, brief, notebooks, tmp_path, monkeypatch):
    monkeypatch.setattr(World, "world", lambda _: quick)
    wanted = Compare(objective=("vanilla",), seeds=1, steps=1, ppo=brief, out=tmp_path)
    compare(replace(wanted, tracker="notebook"))
    assert [row["step"] for row in notebooks[0].rows] == [1]
    with pytest.raises(InputError, match="did you mean 'notebook'"):
        compare(replace(wanted, tracker="notebok", out=tmp_path / "other"))


def test_packages_that_are_missing_are_named(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    for kind, packages in trackers.PACKAGES.items():
        with pytest.raises(InputError, match=f"pip install {packages[-1]}"):
            check_tracker(kind)
    spec = ModuleSpec("tensorboardX", None)
    monkeypatch.setattr(
        trackers, "find_spec", lambda name: spec if name == "tensorboardX" else None
    )
    check_tracker("tensorboard")
