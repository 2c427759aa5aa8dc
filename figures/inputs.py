"""What a figure depends on, so that one whose inputs did not change is not drawn again."""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from figures.figure import Figure, Setting
from figures.manifest import damages
from theory import style
from theory.fingerprint import fingerprint, versions
from theory.notices import notice

DRAWING = (Path(__file__).with_name("render.py"), style.PATH)
"""Files that all figures depend on."""


def inputs(figure: Figure, setting: Setting) -> str:
    """Digest the setting but for `workers`, the figure, and the code that it imports.

    Code is what compute, draw, caption and findings reach, see `theory.fingerprint`.
    """
    parts: tuple[Callable[..., Any], ...] = (
        figure.compute, figure.draw, figure.caption, figure.findings
    )  # fmt: skip
    functions, arguments = zip(*map(_unwrapped, parts), strict=True)
    facts = (
        figure.key, figure.title, figure.size, tuple(figure.seconds), arguments,
        setting.scale, setting.seed, setting.full_seeds, versions(),
        fingerprint(*functions, files=DRAWING),
    )  # fmt: skip
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def unchanged(entry: Mapping[str, Any] | None, digest: str, out: Path) -> bool:
    """Whether an entry of the manifest is of a figure with these inputs, its files as written.

    Files that are not are named on the error stream.
    """
    if entry is None or entry["status"] != "done" or entry.get("inputs") != digest:
        return False
    if not isinstance(entry["files"], Mapping):
        return False
    damage = damages(entry, out)
    for name, told in damage.items():
        notice(f"{out / name} is {told}: the figure is drawn again")
    return not damage


def _unwrapped(function: Callable[..., Any]) -> tuple[Callable[..., Any], str]:
    """What a partial function calls, and with what."""
    if isinstance(function, partial):
        inner, told = _unwrapped(function.func)
        return inner, f"{told} {function.args} {sorted(function.keywords.items())}"
    return function, function.__qualname__
