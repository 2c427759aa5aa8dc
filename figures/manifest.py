"""What produced the figures of a folder."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from theory.files import locked
from theory.fingerprint import versions
from theory.manifest import Seal, damaged, read_sealed, write_sealed

HINT = "move that file away, or choose another folder with --out"


def provenance() -> dict[str, Any]:
    """Versions, commit, machine and time of a run."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": f"cpu ({platform.machine()}, {os.cpu_count()} cores)",
        "packages": versions(),
        "commit": _commit(),
    }


def read_manifest(path: Path) -> dict[str, Any]:
    """Entries of the figures that a folder holds already, by key; none without a manifest.

    Raises `InputError` for a file that is not a manifest, or not as it was written.
    """
    try:
        said, sealed = read_sealed(path, hint=HINT)
    except FileNotFoundError:
        return {}
    try:
        entries = {str(key): dict(entry) for key, entry in said["figures"].items()}
        if not sealed and not all({"status", "setting"} <= set(e) for e in entries.values()):
            raise ValueError("not one of ours")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, error, HINT) from None
    return entries


def add_entries(path: Path, entries: dict[str, Any]) -> None:
    """Put figures into the manifest on disk, beside those that other processes put there."""
    with locked(path.parent):
        write_sealed(path, {"figures": dict(sorted((read_manifest(path) | entries).items()))})


def damages(entry: Mapping[str, Any], out: Path) -> dict[str, str]:
    """Find the files of a figure that are not as they were written, and what is wrong with each.

    Of entries of earlier versions, which kept no digests, only what is missing is known.
    """
    files = entry.get("files", {})
    if not isinstance(files, Mapping):
        return {name: "missing" for name in files if not (out / name).is_file()}
    found = {name: Seal(sha256).damage(out / name) for name, sha256 in files.items()}
    return {name: told for name, told in found.items() if told is not None}


def _commit() -> str | None:
    """Commit of the source tree, None outside of a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        found = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
