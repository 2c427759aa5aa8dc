"""The rules of the house: import order, optional packages, documentation, sizes."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from theory.references import REFERENCES

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
CITATION = re.compile(r"\[([a-z]+\d{4})\b")


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


def public_objects():
    for path in SOURCES:
        name = name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if name.endswith("__main__"):
            continue
        module = importlib.import_module(name)
        yield name, module
        for key, value in vars(module).items():
            here = getattr(value, "__module__", None) == name
            if key.startswith("_") or not here or not callable(value):
                continue
            if not inspect.isfunction(value) and not inspect.isclass(value):
                continue
            yield f"{name}.{key}", value
            if inspect.isclass(value):
                for method, function in vars(value).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield f"{name}.{key}.{method}", function


def test_every_public_name_is_documented():
    bare = [name for name, value in public_objects() if not (value.__doc__ or "").strip()]
    assert bare == []


def test_every_citation_has_a_reference():
    unknown = {
        (name_of(path), key)
        for path in SOURCES
        for key in CITATION.findall(path.read_text())
        if key not in REFERENCES
    }
    assert unknown == set()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_rooms_are_small(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            documented = ast.get_docstring(node) or ""
            lines = (node.end_lineno or 0) - node.lineno + 1 - len(documented.splitlines())
            assert lines <= FUNCTION_LINES, node.name
