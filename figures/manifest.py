"""What produced a set of figures."""

import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from theory.files import write_text

PACKAGES = ("rlhf-risk", "numpy", "scipy", "pandas", "matplotlib", "joblib")


def provenance() -> dict[str, Any]:
    """Versions, commit, machine and time of a run."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Replace the manifest on disk."""
    write_text(path, json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


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
