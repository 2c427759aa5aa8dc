"""The suite itself: it uses what is public, and skips what lacks a package, with a reason."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
OURS = ("theory", "bandits", "llm_bridge", "figures")
PUBLIC = {"_replace", "_asdict", "_fields", "_make"}
"""Of named tuples, whose names begin so that no field has them."""
THEIRS = {"_C", "_dynamo", "_python_dispatch", "_getframe", "_calculate_rewards", "_compute_loss"}
"""Of other packages."""
PATCHES = ("setattr", "getattr", "patch")


def private(name):
    return name.startswith("_") and not name.endswith("__")


def reached(node):
    """Private names of others that a node of the syntax tree uses."""
    if isinstance(node, ast.Attribute) and private(node.attr):
        own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        return [] if own or node.attr in PUBLIC | THEIRS else [node.attr]
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
        return [alias.name for alias in node.names if private(alias.name)]
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in PATCHES:
        words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        last = [word.rpartition(".")[2] for word in words if isinstance(word, str)]
        return [word for word in last if word.isidentifier() and private(word)]
    return []


def reached_in(text):
    return [name for node in ast.walk(ast.parse(text)) for name in reached(node)]


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT / "tests")))
def test_private_names_of_the_packages_are_left_alone(path):
    assert reached_in(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    ["runs._worth(x)", "from figures.runs import _worth", "patch.setattr(runs, '_worth', 1)",
     "monkeypatch.setattr('figures.runs._worth', 1)", "grid._trained.cache_clear()"],
)  # fmt: skip
def test_private_names_are_noticed(line):
    assert len(reached_in(line)) == 1


BLOCKED = """import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

ABSENT = set("NAMES".split())
sys.meta_path.insert(0, Absent())
"""


def without(names, tmp_path, *arguments):
    """Summary of pytest where packages are not installed."""
    (tmp_path / "absent.py").write_text(BLOCKED.replace("NAMES", names))
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    command = [sys.executable, "-m", "pytest", "-p", "absent", "-p", "no:cacheprovider", "-rs"]
    found = subprocess.run(
        [*command, *arguments], cwd=ROOT, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True,
    )  # fmt: skip
    return found.returncode, found.stdout


def test_without_cvxpy_its_tests_are_skipped_and_the_others_run(tmp_path):
    status, told = without(
        "cvxpy", tmp_path, "tests/theory/solvers/test_convex.py", "theory/solvers/convex.py",
        "tests/theory/test_dro.py", "-k", "convex or chi_square",
    )  # fmt: skip
    assert status == 0, told
    assert "needs cvxpy, of the extra 'convex'" in told
    assert " passed" in told
