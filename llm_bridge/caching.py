"""Where what is made here is kept, under names that change with everything that it depends on."""

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

DONE = "done"
"""File that says that a folder of the cache is complete."""
MAKERS = ("embedded", "lm", "data", "rewards", "judging")
"""Rooms whose code decides what the cache holds."""


def default_cache() -> Path:
    """Where trained models are kept: $RLHF_RISK_CACHE, or a folder of the user's cache."""
    named = os.environ.get("RLHF_RISK_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "rlhf-risk"


def cached(cache: Path, kind: str, described: Any) -> Path:
    """A place in the cache for what has this description, and was made by this code."""
    return cache / f"{kind}-{_digest((_code(), described))}"


@lru_cache(maxsize=1)
def _code() -> str:
    """What changes with the code that makes models, texts and labels."""
    here = Path(__file__).parent
    files = [path for room in MAKERS for path in sorted((here / room).glob("*.py"))]
    return _digest([path.read_text(encoding="utf-8") for path in files])


def _digest(facts: Any) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def mark(path: str) -> str:
    """What changes when a local path or a judge's module does; nothing for names on a hub."""
    here = Path(path).expanduser()
    if ":" in path and not here.exists():
        here = _module(path.partition(":")[0])
    files: Sequence[Path] = sorted(here.rglob("*")) if here.is_dir() else [here]
    facts = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
    return _digest(facts) if facts else ""


def _module(name: str) -> Path:
    """The file of a module, where there is one."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return Path()
    return Path(found.origin) if found is not None and found.origin else Path()
