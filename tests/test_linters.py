"""What the linters must see: names and types that are nowhere defined."""

import subprocess
import sys
from pathlib import Path

import pytest

CONFIGURATION = Path(__file__).parents[1] / "pyproject.toml"
SCRATCH = '''"""A module with mistakes."""

import numpy as np
from jaxtyping import Float


def of_a_name(x: float) -> float:
    """Return what is nowhere."""
    return x + not_defined_anywhere


def of_a_type(x: "NotATypeAnywhere") -> None:
    """Take what is nowhere."""


def of_a_shape(x: Float[np.ndarray, " prompts n"], y: Float[np.ndarray, " prompts"]) -> None:
    """Take shapes, which are no mistakes."""
'''


def complaints(tool: list[str], path: Path) -> str:
    run = subprocess.run(
        [sys.executable, "-m", *tool, str(path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1, run.stdout + run.stderr
    return run.stdout


@pytest.fixture
def scratch(tmp_path):
    path = tmp_path / "scratch.py"
    path.write_text(SCRATCH)
    return path


def test_ruff_sees_undefined_names(scratch):
    said = complaints(
        ["ruff", "check", "--config", str(CONFIGURATION), "--no-cache", "--output-format=concise"],
        scratch,
    )
    assert "Found 2 errors" in said
    assert "F821 Undefined name `not_defined_anywhere`" in said
    assert "F821 Undefined name `NotATypeAnywhere`" in said


def test_mypy_sees_undefined_names(scratch, tmp_path):
    scratch.write_text(SCRATCH + '\n\nodd: "float or" = 0.0\nwrong: max = 1\n')
    said = complaints(
        ["mypy", "--config-file", str(CONFIGURATION), "--cache-dir", str(tmp_path / "cache")],
        scratch,
    )
    assert "Found 4 errors" in said
    assert 'Name "not_defined_anywhere" is not defined  [name-defined]' in said
    assert 'Name "NotATypeAnywhere" is not defined  [name-defined]' in said
    assert said.count("[valid-type]") == 2


def test_mypy_sees_errors_of_syntax(tmp_path):
    (tmp_path / "scratch.py").write_text("x = 1  # type: int or\n")
    said = complaints(
        ["mypy", "--config-file", str(CONFIGURATION), "--cache-dir", str(tmp_path)],
        tmp_path / "scratch.py",
    )
    assert "[syntax]" in said
