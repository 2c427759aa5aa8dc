"""`python -m figures`: options, exit status and messages."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from figures import catalogue
from figures.__main__ import Options, main
from figures.catalogue import FIGURES, chosen


def test_list_names_every_figure_its_place_scales_and_seconds(capsys):
    assert main(Options(list=True)) == 0
    lines = capsys.readouterr().out.splitlines()
    for figure in FIGURES.values():
        line = next(line for line in lines if line.startswith(f"{figure.key} "))
        assert figure.number in line
        assert all(f"{scale}: {seconds:g}" in line for scale, seconds in figure.seconds.items())
        assert figure.title in line


def test_figures_are_chosen_by_key_and_by_paper():
    assert chosen(()) == list(FIGURES.values())
    assert [f.key for f in chosen(("beyond.shrinkage",))] == ["beyond.shrinkage"]
    picked = chosen(("beyond", "banerjee2024.fig3"))
    assert {f.paper for f in picked} == {"beyond", "banerjee2024"}
    assert sum(f.paper == "banerjee2024" for f in picked) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ("banerjee2024.fg3",)}, "did you mean 'banerjee2024.fig3'"),
        ({"only": ("beyont",)}, "did you mean 'beyond'"),
        ({"scale": "tinny"}, "did you mean 'tiny'"),
        ({"workers": 0}, "`workers`"),
    ],
)
def test_bad_options_end_with_2_and_say_what_to_do(options, message, tmp_path, capsys):
    assert main(Options(out=tmp_path, **options)) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_unwritable_folder(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(Options(out=blocked / "out")) == 2
    assert "folder that can be written to" in capsys.readouterr().err


def test_a_foreign_manifest_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "manifest.json").write_text("not ours")
    assert main(Options(out=tmp_path)) == 2
    assert "manifest.json" in capsys.readouterr().err
    assert (tmp_path / "manifest.json").read_text() == "not ours"


@pytest.mark.usefixtures("small")
def test_a_failing_figure_is_reported_and_the_others_are_drawn(tmp_path, monkeypatch, capsys):
    def fail(setting):
        raise RuntimeError("no luck")

    key = "beyond.harm_bound"
    monkeypatch.setitem(catalogue.FIGURES, key, dataclasses.replace(FIGURES[key], compute=fail))
    assert main(Options(only=("beyond",), out=tmp_path)) == 1
    recorded = json.loads((tmp_path / "manifest.json").read_text())["figures"]
    failed = recorded.pop(key)
    assert failed["status"] == "failed"
    assert "no luck" in failed["error"]
    assert "in fail" in failed["traceback"]
    assert {entry["status"] for entry in recorded.values()} == {"done"}
    assert len(recorded) == len(chosen(("beyond",))) - 1
    assert key in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_an_interruption_ends_with_130(tmp_path, monkeypatch, capsys):
    def interrupt(setting):
        raise KeyboardInterrupt

    key = "beyond.shrinkage"
    stopped = dataclasses.replace(FIGURES[key], compute=interrupt)
    monkeypatch.setitem(catalogue.FIGURES, key, stopped)
    assert main(Options(only=("banerjee2024.fig2", key), out=tmp_path)) == 130
    assert "interrupted" in capsys.readouterr().err
    assert (tmp_path / "banerjee2024.fig2.png").exists()


def test_the_command_line(tmp_path):
    command = [sys.executable, "-m", "figures", "--only", "banerjee2024.fig2", "--out"]
    root = Path(__file__).parents[2]
    for out, status in ((tmp_path / "out", 0), (Path("/dev/null/out"), 2)):
        found = subprocess.run([*command, str(out)], cwd=root, capture_output=True, text=True)
        assert found.returncode == status
        assert "Traceback" not in found.stderr
    assert (tmp_path / "out" / "manifest.json").exists()
