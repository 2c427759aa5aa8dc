"""The contract of every figure: numbers, a data file, a drawing of that file alone."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure as Canvas

from figures.catalogue import FIGURES
from figures.figure import Setting
from figures.render import render, render_all
from tests.figures.recorded import QUICK, recorded, slow_but
from theory.errors import InputError
from theory.files import LOCK

pytestmark = pytest.mark.usefixtures("small")


def quiet(line):
    pass


@pytest.mark.parametrize("key", slow_but(QUICK))
def test_files_caption_and_manifest(key, tmp_path):
    figure = dataclasses.replace(FIGURES[key], compute=lambda _: recorded(key))
    entry = render_all([figure], Setting(), tmp_path, quiet)[key]
    assert entry["status"] == "done", entry
    kinds = {name.removeprefix(f"{key}.") for name in entry["files"]}
    assert kinds == {"csv", "png", "pdf", "txt"}
    assert all((tmp_path / name).stat().st_size > 0 for name in entry["files"])
    assert "draws" in entry["caption"]
    lines = (tmp_path / f"{key}.txt").read_text().splitlines()
    assert lines[0] == entry["caption"]
    assert len(lines) == 1 + len(entry["findings"])
    stored = json.loads((tmp_path / "manifest.json").read_text())["figures"][key]
    assert stored == entry
    assert stored["setting"] == {
        "scale": FIGURES[key].reached("toy"), "seed": 0, "workers": 1, "full_seeds": False,
    }  # fmt: skip
    assert stored["provenance"]["packages"]["numpy"] == np.__version__
    assert b"/Type3" not in (tmp_path / f"{key}.pdf").read_bytes()


def test_equal_data_give_equal_files(tmp_path):
    def files(name):
        folder = tmp_path / name
        folder.mkdir()
        entry = render(FIGURES["beyond.shrinkage"], Setting(), folder)
        return [(folder / name).read_bytes() for name in entry["files"]]

    assert files("once") == files("again")


@pytest.mark.parametrize("key", FIGURES)
def test_drawing_and_caption_need_the_stored_table_only(key):
    figure, table = FIGURES[key], recorded(key)
    canvas = Canvas(figsize=figure.size)
    figure.draw(table, canvas)
    for ax in canvas.axes:
        beside = {
            *ax.get_shared_x_axes().get_siblings(ax), *ax.get_shared_y_axes().get_siblings(ax)
        }  # fmt: skip
        assert any(a.get_xlabel() or a.get_ylabel() or a.get_title() for a in beside)
    assert len(figure.caption(table)) > 80
    pd.testing.assert_frame_equal(table, recorded(key))


def test_a_missing_scale_is_said_in_the_caption(tmp_path):
    entry = render(FIGURES["banerjee2024.fig2"], Setting("full"), tmp_path)
    assert entry["setting"]["scale"] == "toy"
    assert "has no scale 'full'" in entry["caption"]


def test_an_earlier_run_into_the_same_folder_stays_recorded(tmp_path):
    first, second = FIGURES["beyond.shrinkage"], FIGURES["beyond.harm_bound"]
    render_all([first], Setting(seed=1), tmp_path, quiet)
    render_all([second], Setting(seed=2), tmp_path, quiet)
    recorded = json.loads((tmp_path / "manifest.json").read_text())["figures"]
    assert {key: entry["setting"]["seed"] for key, entry in recorded.items()} == {
        first.key: 1,
        second.key: 2,
    }


def test_finished_figures_survive_an_interruption(tmp_path):
    def interrupt(setting):
        raise KeyboardInterrupt

    first = FIGURES["beyond.harm_bound"]
    second = dataclasses.replace(FIGURES["beyond.shrinkage"], compute=interrupt)
    with pytest.raises(KeyboardInterrupt):
        render_all([first, second], Setting(), tmp_path, quiet)
    recorded = json.loads((tmp_path / "manifest.json").read_text())["figures"]
    assert list(recorded) == [first.key]
    assert (tmp_path / f"{first.key}.png").exists()
    assert [path.name for path in tmp_path.glob(".*")] == [LOCK]


def test_the_style_is_put_back(tmp_path):
    before = rcParams.copy()
    render(FIGURES["banerjee2024.fig2"], Setting(), tmp_path)
    assert rcParams == before


@pytest.mark.parametrize("options", [{"scale": "huge"}, {"seed": -1}, {"workers": 0}])
def test_bad_settings(options):
    with pytest.raises(InputError, match=next(iter(options))):
        Setting(**options)
