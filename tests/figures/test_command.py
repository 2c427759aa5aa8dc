"""`python -m figures`: options, exit status and messages."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from figures import __main__ as command
from figures import catalogue
from figures.__main__ import Options, main, outdated
from figures.catalogue import FIGURES, chosen
from figures.figure import SCALES, Setting
from figures.manifest import read_manifest
from figures.report.page import write_report
from theory.notices import notice


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
        ({"jobs": 0}, "`jobs`"),
        ({"jobs": 2, "workers": 2}, "choose one of the two"),
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
    only = (key, "beyond.shrinkage", "beyond.matched_step")
    assert main(Options(only=only, out=tmp_path)) == 1
    recorded = json.loads((tmp_path / "manifest.json").read_text())["figures"]
    failed = recorded.pop(key)
    assert failed["status"] == "failed"
    assert "no luck" in failed["error"]
    assert "in fail" in failed["traceback"]
    assert {entry["status"] for entry in recorded.values()} == {"done"}
    assert set(recorded) == {*only[1:]}
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


EXACT = ("banerjee2024.fig2", "adaptive2024.fig2")
"""Figures that are drawn in a second, and that two processes draw alike."""


def stamps(folder):
    """When the files of figures were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.fig*")}


def test_what_did_not_change_is_not_drawn_again(tmp_path, capsys):
    def drawn(**options):
        assert main(Options(only=EXACT[:1], out=tmp_path, **options)) == 0
        return stamps(tmp_path)

    first = drawn()
    assert drawn() == first == drawn(workers=2)
    assert "1 figures are unchanged" in capsys.readouterr().out
    for again in ({"force": True}, {"seed": 1}):
        before, after = stamps(tmp_path), drawn(**again)
        assert all(after[name] > before[name] for name in before)


def test_files_that_are_not_as_they_were_written_are_drawn_again(tmp_path, capsys):
    options = Options(only=EXACT[:1], out=tmp_path)
    assert main(options) == 0
    data = tmp_path / f"{EXACT[0]}.csv"
    whole = data.read_bytes()
    for content in (b"", whole.replace(b"1", b"2")):
        data.write_bytes(content)
        write_report(FIGURES, tmp_path)
        assert f"--only {EXACT[0]} " in (tmp_path / "index.html").read_text()
        assert main(options) == 0
        assert data.read_bytes() == whole
        assert f"{data} is not as it was written" in capsys.readouterr().err
        notice.cache_clear()


def test_two_runs_into_one_folder_lose_nothing(tmp_path, monkeypatch):
    """The second draws its figure while the first is about to."""
    first, second = (FIGURES[key] for key in EXACT)

    def meanwhile(setting):
        assert main(Options(only=(second.key,), out=tmp_path)) == 0
        return first.compute(setting)

    monkeypatch.setitem(catalogue.FIGURES, first.key, dataclasses.replace(first, compute=meanwhile))
    assert main(Options(only=(first.key,), out=tmp_path)) == 0
    assert set(read_manifest(tmp_path / "manifest.json")) == set(EXACT)
    page = (tmp_path / "index.html").read_text()
    assert all(f'download="{key}.csv"' in page for key in EXACT)


def test_a_failed_figure_is_tried_again(tmp_path, monkeypatch):
    whole = FIGURES[EXACT[0]]
    broken = dataclasses.replace(whole, draw=lambda table, canvas: 1 / 0)
    monkeypatch.setitem(catalogue.FIGURES, EXACT[0], broken)
    assert main(Options(only=EXACT[:1], out=tmp_path)) == 1
    assert "ZeroDivisionError" in (tmp_path / "index.html").read_text()
    monkeypatch.setitem(catalogue.FIGURES, EXACT[0], whole)
    assert main(Options(only=EXACT[:1], out=tmp_path)) == 0


@pytest.mark.slow
def test_several_processes_draw_the_same(tmp_path):
    assert main(Options(only=EXACT, out=tmp_path, jobs=2)) == 0
    for key in EXACT:
        numbers = FIGURES[key].compute(Setting())
        assert (tmp_path / f"{key}.csv").read_text() == numbers.to_csv(index=False)


def test_slow_figures_come_last_and_are_announced(tmp_path, monkeypatch, capsys):
    slow, quick = (FIGURES[key] for key in EXACT)
    monkeypatch.setitem(
        catalogue.FIGURES, slow.key, dataclasses.replace(slow, seconds={"toy": 200})
    )
    figures = chosen(EXACT)
    assert [figure.key for figure in figures] == list(EXACT)
    due = outdated(figures, Setting(), Options(out=tmp_path))
    assert [figure.key for figure in due] == [quick.key, slow.key]
    assert f"{slow.key:32s} will take about 200 s" in capsys.readouterr().out


def test_what_takes_more_than_five_minutes_is_drawn_on_request(tmp_path, monkeypatch, capsys):
    slow, quick = (FIGURES[key] for key in EXACT)
    slow = dataclasses.replace(slow, seconds={"toy": 2, "tiny": 600})
    monkeypatch.setitem(catalogue.FIGURES, slow.key, slow)

    def due(scale, **options):
        found = outdated(chosen(EXACT), Setting(scale), Options(out=tmp_path, **options))
        return {figure.key for figure in found}

    assert due("toy") == {slow.key, quick.key}
    capsys.readouterr()
    assert due("tiny") == {quick.key}
    assert f"{slow.key:32s} not drawn: it needs --slow" in capsys.readouterr().out
    assert due("tiny", slow=True) == {slow.key, quick.key}


def test_studies_of_many_language_models_are_slow(capsys):
    slow = [
        "banerjee2024.fig7_lm", "beyond.unification", "beyond.language_curves",
        "ugda2025.table2_lm", "ugda2025.fig4_lm",
    ]  # fmt: skip
    assert [key for key, figure in FIGURES.items() if figure.slow("toy")] == slow
    assert main(Options(list=True)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.endswith("(with --slow)")] == slow


def test_what_needs_gpus_is_left_out_unless_asked_for(tmp_path, monkeypatch, capsys):
    large = dataclasses.replace(FIGURES[EXACT[0]], seconds={"full": 3600})
    monkeypatch.setitem(catalogue.FIGURES, large.key, large)
    assert [large.reached(scale) for scale in SCALES] == [None, None, "full"]
    assert main(Options(only=EXACT[:1], out=tmp_path)) == 0
    assert "it needs --scale full" in capsys.readouterr().out
    assert not stamps(tmp_path)
    assert f"--only {large.key} --scale full" in (tmp_path / "index.html").read_text()


def test_without_names_the_theorems_are_audited_too(tmp_path, monkeypatch, capsys):
    def audited(options):
        (options.out / "audit.json").write_text('{"claims": []}')
        return 1

    monkeypatch.setattr(command, "chosen", lambda names: [FIGURES[EXACT[0]]])
    monkeypatch.setattr(command.audit, "run", audited)
    assert main(Options(out=tmp_path)) == 1
    assert "0 statements" in (tmp_path / "index.html").read_text()


def test_the_command_line(tmp_path):
    command = [sys.executable, "-m", "figures", "--only", "banerjee2024.fig2", "--out"]
    root = Path(__file__).parents[2]
    for out, status in ((tmp_path / "out", 0), (Path("/dev/null/out"), 2)):
        found = subprocess.run([*command, str(out)], cwd=root, capture_output=True, text=True)
        assert found.returncode == status
        assert "Traceback" not in found.stderr
    assert (tmp_path / "out" / "manifest.json").exists()
