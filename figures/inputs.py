"""What a figure depends on, so that one whose inputs did not change is not drawn again."""

import ast
import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from figures.figure import Figure, Setting
from figures.manifest import versions
from theory import style

ROOT = Path(__file__).parents[1]
"""Folder of the packages whose code counts; other packages count by their versions."""
DRAWING = (Path(__file__).with_name("render.py"), style.PATH)
"""Files that all figures depend on."""


def inputs(figure: Figure, setting: Setting) -> str:
    """A digest of the setting but for `workers`, of the figure, and of the code that it imports.

    Code is what compute, draw, caption and findings reach by imports within this project, also
    those inside of functions. Imports by a computed name are not seen.
    """
    parts: tuple[Callable[..., Any], ...] = (
        figure.compute, figure.draw, figure.caption, figure.findings
    )  # fmt: skip
    functions, arguments = zip(*map(_unwrapped, parts), strict=True)
    facts = (
        figure.key, figure.title, figure.size, tuple(figure.seconds), arguments,
        setting.scale, setting.seed, setting.full_seeds, versions(), code(functions, DRAWING),
    )  # fmt: skip
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def code(functions: Iterable[Callable[..., Any]], files: Iterable[Path] = ()) -> list[str]:
    """Digests of the modules of some functions, of some files, and of all that they import."""
    return sorted(map(_content, reachable([*files, *map(_home, functions)])))


def unchanged(entry: Mapping[str, Any] | None, digest: str, out: Path) -> bool:
    """Whether an entry of the manifest is of a figure with these inputs, its files still there."""
    if entry is None or entry["status"] != "done" or entry.get("inputs") != digest:
        return False
    return all((out / name).exists() for name in entry["files"])


def reachable(files: Iterable[Path], root: Path = ROOT) -> set[Path]:
    """These files and all modules under `root` that they import, directly or not."""
    found: set[Path] = set()
    waiting = set(files)
    while waiting:
        path = waiting.pop()
        found.add(path)
        if path.suffix == ".py":
            waiting |= _imported(path, root) - found
    return found


@cache
def _imported(path: Path, root: Path) -> frozenset[Path]:
    """Modules under `root` that a file imports."""
    found: set[Path | None] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {_module(alias.name, root) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {_module(name, root) or _module(node.module, root) for name in names}
    return frozenset(file for file in found if file is not None)


def _module(name: str, root: Path) -> Path | None:
    """The file of a module, or the __init__ of a package."""
    place = root.joinpath(*name.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


@cache
def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _home(function: Callable[..., Any]) -> Path:
    """The file of the module that a function belongs to."""
    return Path(str(sys.modules[function.__module__].__file__))


def _unwrapped(function: Callable[..., Any]) -> tuple[Callable[..., Any], str]:
    """What a partial function calls, and with what."""
    if isinstance(function, partial):
        inner, told = _unwrapped(function.func)
        return inner, f"{told} {function.args} {sorted(function.keywords.items())}"
    return function, function.__qualname__
