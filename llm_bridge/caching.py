"""Where what is made here is kept, under names that change with everything that it depends on."""

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from theory.errors import InputError
from theory.files import digest, locked, output_folder, write_text
from theory.fingerprint import digest_of, fingerprint, versions

VARIABLE = "RLHF_RISK_CACHE"
DONE = "done"
"""File that says what a folder of the cache holds, and which files with which digests."""
FOREVER = -1.0
"""Seconds to wait for another process that makes the same thing; its lock ends with it."""


def default_cache(chosen: Path | None = None) -> Path:
    """Find where trained models are kept unless it is chosen: in the user's cache.

    $RLHF_RISK_CACHE names another folder. Raises `InputError` where there is neither it nor a home.
    """
    if chosen is not None:
        return chosen
    named = os.environ.get(VARIABLE)
    try:
        return Path(named) if named else Path.home() / ".cache" / "rlhf-risk"
    except RuntimeError:
        raise InputError(
            "cache", "given where there is no home folder", "none",
            f"pass --cache FOLDER, or set {VARIABLE}",
        ) from None  # fmt: skip


def cached(cache: Path, kind: str, described: Any, *makers: Any) -> Path:
    """Name a place in the cache for what has this description, and is made by this code.

    described: counts by its printed form. makers: see `theory.fingerprint.fingerprint`; versions of
    packages count too.
    """
    return cache / f"{kind}-{digest_of((fingerprint(*makers), versions(), described))}"


def entry(
    cache: Path, kind: str, described: Any, make: Callable[[Path], object], *makers: Any
) -> Path:
    """Find a folder of the cache that is whole, or let `make` fill it; see `cached`.

    A folder is whole if it holds the files that were made, with the digests that they had, and no
    others. One that is not is made anew, with a word on stderr. Where several processes ask for the
    same, one makes it and the others wait. Nothing is written where nothing is to be made.

    Raises `InputError` for a cache that cannot be written to.
    """
    folder = cached(cache, kind, described, *makers)
    about = {"kind": kind, "made_of": repr(described), "code": fingerprint(*makers),
             "packages": versions()}  # fmt: skip
    if _whole(folder, about):
        return folder
    output_folder(folder, argument="cache", option=f"--cache or {VARIABLE}")
    with locked(folder, wait=FOREVER):
        if not _whole(folder, about):
            _emptied(folder)
            make(folder)
            write_text(folder / DONE, json.dumps({**about, "files": _digests(folder)}, indent=2))
    return folder


def _whole(folder: Path, about: dict[str, Any]) -> bool:
    """Whether a folder holds what `entry` made, all of it."""
    try:
        said = json.loads((folder / DONE).read_text(encoding="utf-8"))
        return bool(said == {**about, "files": _digests(folder)})
    except (OSError, ValueError):
        return False


def _digests(folder: Path) -> dict[str, str]:
    """Of all files but those that say so, and those that are hidden: locks and temporary ones."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {
        name: digest(path) if path.is_file() else "no file"
        for name, path in sorted(names.items())
        if name != DONE and not name.startswith(".")
    }


def _emptied(folder: Path) -> None:
    """Remove what a folder holds, and say so, but for locks and temporary files."""
    left = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if left:
        print(f"{folder} is damaged or was not finished, and is made anew", file=sys.stderr)
    for path in left:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def mark(path: str) -> str:
    """Digest what changes when a local path or a judge's module does; "" for names on a hub."""
    here = Path(path).expanduser()
    if ":" in path and not here.exists():
        module = _module(path.partition(":")[0])
        return fingerprint(files=[module]) if module is not None else ""
    files: Sequence[Path] = sorted(here.rglob("*")) if here.is_dir() else [here]
    facts = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
    return digest_of(facts) if facts else ""


def _module(name: str) -> Path | None:
    """The file of a module, where there is one."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    file = Path(found.origin) if found is not None and found.origin else None
    return file if file is not None and file.is_file() else None
