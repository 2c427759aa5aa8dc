"""The rules of the house: import order, optional packages, documentation, sizes."""

import ast
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from theory.references import REFERENCES
from theory.scores import Scores
from theory.shrinkage import shrink_variance

ROOT = Path(__file__).parents[1]
PACKAGES = ("theory", "bandits", "llm_bridge", "figures")
MAY_IMPORT = {
    "theory": {"theory"},
    "bandits": {"theory", "bandits"},
    "llm_bridge": {"theory", "llm_bridge"},
    "figures": set(PACKAGES),
}
MODULE_LINES, FUNCTION_LINES = 270, 60
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
BRACKET = re.compile(r"\[[^\[\]]*\]")
KEY = re.compile(r"\b[a-z]+(?:19|20)\d{2}\b")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_run_downwards(path):
    package = path.relative_to(ROOT).parts[0]
    used = {module.split(".")[0] for module in imports(path)}
    assert used & set(PACKAGES) <= MAY_IMPORT[package]
    if package == "theory":
        assert "torch" not in used
    if name_of(path) != "theory/solvers/convex.py":
        assert "cvxpy" not in used


def test_importing_theory_brings_in_no_heavy_package():
    modules = [
        module.name
        for module in pkgutil.walk_packages([str(ROOT / "theory")], "theory.")
        if not module.name.endswith(("__main__", "solvers.convex"))
    ]
    script = "import importlib, sys\n" + "\n".join(
        f"importlib.import_module({name!r})" for name in ["theory", *modules]
    )
    script += "\nprint(sorted({'torch', 'cvxpy', 'matplotlib'} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def public(node):
    kinds = ast.FunctionDef | ast.ClassDef
    return [
        child for child in node.body if isinstance(child, kinds) and not child.name.startswith("_")
    ]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_public_name_is_documented(path):
    module = ast.parse(path.read_text())
    methods = [
        method
        for node in public(module)
        if isinstance(node, ast.ClassDef)
        for method in public(node)
    ]
    bare = [node for node in (module, *public(module), *methods) if not ast.get_docstring(node)]
    assert [getattr(node, "name", "the module") for node in bare] == []


def test_every_citation_has_a_reference():
    unknown = {
        (name_of(path), key)
        for path in SOURCES
        for bracket in BRACKET.findall(path.read_text())
        for key in KEY.findall(bracket)
        if key not in REFERENCES
    }
    assert unknown == set()


def test_shape_annotations_are_checked_in_the_tests():
    with pytest.raises(TypeCheckError, match="known_variance"):
        Scores(np.zeros((3, 2)), known_variance=np.ones(4))
    with pytest.raises(TypeCheckError, match="dof"):
        shrink_variance(np.ones(3), "two")


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_rooms_are_small(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            documented = ast.get_docstring(node) or ""
            lines = (node.end_lineno or 0) - node.lineno + 1 - len(documented.splitlines())
            assert lines <= FUNCTION_LINES, node.name


def test_every_package_is_installed():
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["setuptools"]["packages"]) == found
