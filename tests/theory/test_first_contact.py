"""What someone sees who calls a program for the first time, or calls it wrongly."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from tests.theory.test_solve_command import frame
from theory.__main__ import COMMANDS, SHOWN, main
from theory.errors import InputError
from theory.first_contact import extra
from theory.penalties import Budget, Penalty, TargetKL
from theory.presets import BETA_ONLY, preset, vanilla
from theory.records import Records

PACKAGES = ("theory", "bandits", "llm_bridge", "figures")


def test_without_a_command_it_shows_what_it_can_do(capsys):
    assert main([]) == 2
    told = capsys.readouterr().err
    assert set(SHOWN) == set(COMMANDS)
    for name, (does, example) in SHOWN.items():
        assert does in told
        assert f"python -m theory {name} {example}" in told


def test_a_command_that_there_is_not(capsys):
    assert main(["sovle", "scores.csv"]) == 2
    assert "did you mean 'solve'" in capsys.readouterr().err


def test_a_missing_package_comes_with_the_line_that_installs_it():
    message = r"no_such_module.*pip install -e '.\[llm\]'"
    with pytest.raises(InputError, match=message), extra("llm"):
        import_module("no_such_module")


def test_what_is_to_be_installed_is_there():
    """Every extra that a message names is one of this project."""
    root = Path(__file__).parents[2]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    code = [path.read_text() for name in PACKAGES for path in (root / name).rglob("*.py")]
    named = {found for text in code for found in re.findall(r"""install\(["'](\w+)["']""", text)}
    assert named >= {"tables", "figures", "convex", "cluster"}
    assert named <= set(extras)
    assert not any("pip install 'rlhf-risk" in text for text in code)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda t: t.rename(columns={"prompt": "Prompt"}), [], ["'Prompt' to 'prompt'"]),
        (lambda t: t.rename(columns=str.upper), [], ["'MEMBER_0' to 'member_0'"]),
        (lambda t: t.assign(reference=t.reference / 2), [], ["sum to 1", "a sum of 0.5"]),
        (lambda t: t, ["--objective", "lbc"], ["did you mean 'lcb'"]),
        (lambda t: t, ["--objective", "brme"], ["'brme'", "no std columns", "add columns"]),
        (lambda t: t, ["--objective", "safe"], ["--beta"]),
        (lambda t: t, ["--beta", "0"], ["`beta` must be > 0, got 0; "]),
        (lambda t: t, ["--beta", "-1"], ["`beta` must be > 0, got -1; "]),
        (lambda t: t, ["--level", "95"], ["`level`", "0.95 stands for 95%"]),
        (lambda t: t.iloc[:, :4], ["--objective", "lcb"], ["'lcb'", "1 member column"]),
    ],
)
def test_mistakes_at_the_table(change, options, words, tmp_path, capsys):
    path = tmp_path / "scores.csv"
    change(frame()).to_csv(path, index=False)
    assert main(["solve", str(path), *options, "--out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    for word in words:
        assert word in told, told


def test_no_workers(capsys):
    assert main(["audit", "--only", "l2_and_kl", "--workers", "0"]) == 2
    assert "`workers` must be > 0, got 0" in capsys.readouterr().err


def test_a_preset_at_a_strength():
    assert preset("vanilla") == vanilla()
    assert preset("vanilla", 0.3) == preset("vanilla", Penalty(0.3)) == vanilla(0.3)
    assert preset("adaptive_experts", Penalty(0.3)) == preset("adaptive_experts", 0.3)
    for name in BETA_ONLY:
        for strength in (TargetKL(0.1), Budget(0.1)):
            with pytest.raises(InputError, match="--beta"):
                preset(name, strength)
    with pytest.raises(InputError, match="`beta` must be given"):
        preset("safe")
    with pytest.raises(InputError, match="did you mean 'safe'"):
        preset("save")


def test_records_of_another_run_say_what_differs(tmp_path):
    Records.create(tmp_path, {"steps": 80, "objectives": "x" * 80})
    with pytest.raises(InputError, match="add --resume"):
        Records.create(tmp_path, {"steps": 80})
    with pytest.raises(InputError, match=r"steps 2 \(it was 80\)") as error:
        Records.create(tmp_path, {"steps": 2, "objectives": "y" * 80}, resume=True)
    assert "another value of objectives" in str(error.value)


def test_programs_answer_at_once():
    """Neither PyTorch nor transformers is loaded to say what can be done."""
    script = (
        "import sys, {0}.__main__; print(sorted({{'torch', 'transformers'}} & set(sys.modules)))"
    )
    for program in ("theory", "bandits", "llm_bridge"):
        found = subprocess.run(
            [sys.executable, "-c", script.format(program)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert found.stdout.strip() == "[]", program
