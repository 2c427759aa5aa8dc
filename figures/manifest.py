"""What produced the figures of a folder."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from theory.errors import InputError
from theory.files import write_text
from theory.fingerprint import versions


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

    Raises `InputError` for a file that is not a manifest.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["figures"])
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "out", "a folder without manifest.json, or with one of ours", f"{path} ({error!r})",
            "move that file away, or choose another folder",
        ) from None  # fmt: skip


def write_manifest(path: Path, entries: dict[str, Any]) -> None:
    """Replace the manifest on disk."""
    write_text(path, json.dumps({"figures": entries}, indent=2, sort_keys=True) + "\n")


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
