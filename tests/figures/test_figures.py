"""The figures: numbers, files, and what happens when something goes wrong."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas

from figures import catalogue
from figures.__main__ import Options, listing, main
from figures.banerjee2024 import return_histograms, three_arms
from figures.beyond import harm_bound, matched_step, shrinkage, simplex_counterexample
from figures.catalogue import FIGURES
from figures.figure import Setting
from figures.render import render_all

SMALL = {
    (return_histograms, "DRAWS"): {"toy": 4000},
    (return_histograms, "SIMPLEX_DRAWS"): {"toy": (2, 20)},
    (harm_bound, "DRAWS"): {"toy": 500},
    (simplex_counterexample, "GRID"): {"toy": (3, 3, 200)},
    (matched_step, "SCALES"): {"toy": (2, 100)},
    (shrinkage, "REPEATS"): {"toy": 3},
}


@pytest.fixture
def small(monkeypatch):
    for (module, name), setting in SMALL.items():
        monkeypatch.setattr(module, name, setting)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("key", FIGURES)
def test_every_figure_is_computed_stored_and_drawn(key, tmp_path):
    manifest = render_all([FIGURES[key]], Setting(), tmp_path, lambda line: None)
    entry = manifest["figures"][key]
    assert entry["status"] == "done", entry
    for name in entry["files"]:
        assert (tmp_path / name).stat().st_size > 0
    assert len(entry["caption"]) > 80
    assert "draws" in entry["caption"] or "problems" in entry["caption"]
    stored = json.loads((tmp_path / "manifest.json").read_text())
    assert stored["figures"][key]["files"] == entry["files"]
    assert stored["packages"]["numpy"] == np.__version__


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("key", FIGURES)
def test_a_seed_gives_the_same_numbers_for_any_number_of_workers(key):
    figure = FIGURES[key]
    once, again = (figure.compute(Setting(seed=3, workers=w)) for w in (1, 2))
    pd.testing.assert_frame_equal(once, again, check_exact=True)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("key", [k for k in FIGURES if k != "banerjee2024.fig2"])
def test_another_seed_gives_other_numbers(key):
    figure = FIGURES[key]
    assert not figure.compute(Setting(seed=1)).equals(figure.compute(Setting(seed=2)))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("key", FIGURES)
def test_drawing_needs_the_table_only(key, tmp_path):
    figure = FIGURES[key]
    path = tmp_path / "data.csv"
    figure.compute(Setting()).to_csv(path, index=False)
    canvas = Canvas(figsize=figure.size)
    figure.draw(pd.read_csv(path), canvas)
    assert canvas.axes


def test_six_of_the_eight_printed_numbers_are_reproduced():
    table = return_histograms.compute_both(Setting())
    read = table[table.reading == "closed form"].set_index(["spread", "method", "statistic"]).value
    for (spread, method), (mean, sd) in return_histograms.PRINTED.items():
        assert abs(read[spread, method, "exact sd"] - sd) <= 0.0075
        if spread == "low":
            assert abs(read[spread, method, "exact mean"] - mean) <= 0.0075
    gap = read["high", "unaware", "exact mean"] - read["high", "aware", "exact mean"]
    assert 0.08 < gap < 0.13  # printed as -0.001


@pytest.mark.parametrize(
    ("group", "objective", "expected"),
    [
        ("β = 1", "naive: mean − β KL", 1.659),
        ("β = 1", "LCB (1 sd)", 2.334),
        ("β = 1", "UWO (0.5)", 2.407),
        ("β = 1", "Bregman, σ (PPO)", 1.939),
        ("β = 1", "Bregman, σ²", 2.175),
        ("β = 1", "weighted KL, σ²", 2.687),
        ("β = 1", "Theorem 3.6 as printed", 3.000),
        ("KL = 0.2126", "Bregman, σ (PPO)", 2.036),
        ("KL = 0.2126", "weighted KL, σ²", 2.513),
        ("KL = 0.2126", "Bregman, σ²", 2.222),
        ("KL = 0.2126", "LCB (1 sd)", 2.467),
        ("KL = 0.2126", "UWO (0.5)", 2.494),
        ("ℓ₂ ball, ε = 0.5", "naive: ℓ₂", 1.184),
        ("ℓ₂ ball, ε = 0.5", "σ²-weighted ℓ₂", 2.162),
    ],
)
def test_true_returns_of_the_three_armed_bandit(group, objective, expected):
    table = three_arms.compute(Setting())
    row = table[(table.group == group) & (table.objective == objective)].iloc[0]
    assert round(row.true_return, 3) == expected


def test_list_names_every_figure(capsys):
    assert main(Options(list=True)) == 0
    shown = capsys.readouterr().out
    assert all(key in shown for key in FIGURES)
    assert "toy" in listing()


def test_unknown_name_suggests_the_nearest(tmp_path, capsys):
    assert main(Options(only=("banerjee2024.fg3",), out=tmp_path)) == 2
    assert "did you mean 'banerjee2024.fig3'" in capsys.readouterr().err
    assert main(Options(scale="huge", out=tmp_path)) == 2


def test_unwritable_folder_is_an_error_before_anything_is_computed(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(Options(only=("banerjee2024.fig2",), out=blocked / "out")) == 2
    assert "folder that can be written to" in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_a_failing_figure_is_reported_and_the_others_are_drawn(tmp_path, monkeypatch, capsys):
    def fail(setting):
        raise RuntimeError("no luck")

    broken = dataclasses.replace(FIGURES["beyond.harm_bound"], compute=fail)
    monkeypatch.setitem(catalogue.FIGURES, "beyond.harm_bound", broken)
    assert main(Options(only=("beyond",), out=tmp_path)) == 1
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    statuses = {key: entry["status"] for key, entry in manifest["figures"].items()}
    assert statuses.pop("beyond.harm_bound") == "failed"
    assert set(statuses.values()) == {"done"}
    assert "beyond.harm_bound" in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_finished_figures_survive_an_interruption(tmp_path):
    def interrupt(setting):
        raise KeyboardInterrupt

    first = FIGURES["beyond.harm_bound"]
    second = dataclasses.replace(FIGURES["beyond.shrinkage"], compute=interrupt)
    with pytest.raises(KeyboardInterrupt):
        render_all([first, second], Setting(), tmp_path, lambda line: None)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert list(manifest["figures"]) == ["beyond.harm_bound"]
    assert (tmp_path / "beyond.harm_bound.png").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.usefixtures("small")
def test_a_scale_that_is_missing_is_said_in_the_caption(tmp_path):
    entry = render_all(
        [FIGURES["banerjee2024.fig2"]], Setting("full"), tmp_path, lambda line: None
    )["figures"]["banerjee2024.fig2"]
    assert entry["scale"] == "toy"
    assert "has no scale 'full'" in entry["caption"]
