"""What a folder holds: settings, and every finished file with the digest of its content.

That a file exists says nothing of what is in it. A manifest names the files that belong to it, and
carries a digest of itself, so that neither can be cut, edited or exchanged unseen.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from theory.errors import InputError
from theory.files import digest, read, write_text

MANIFEST = "manifest.json"
SEAL = "sha256"
"""Where a sealed file holds the digest of all else that it says."""


def write_sealed(path: Path, content: Mapping[str, Any]) -> Path:
    """Write plain values as JSON, with a digest of them."""
    said = json.loads(json.dumps(dict(content)))
    return write_text(path, json.dumps(said | {SEAL: _digest(said)}, indent=2) + "\n")


def read_sealed(path: Path, *, hint: str) -> tuple[dict[str, Any], bool]:
    """Read what `write_sealed` wrote, and whether it was sealed: earlier versions did not do that.

    Raises `InputError` for a file that is cut, edited or no JSON of ours, `FileNotFoundError` where
    there is none.
    """
    try:
        said = json.loads(read(path))
        if not isinstance(said, dict):
            raise ValueError(f"no object, but {str(said)[:20]}")
        sealed = said.pop(SEAL, None)
        if sealed is not None and sealed != _digest(said):
            raise ValueError("it was changed after it was written")
    except FileNotFoundError:
        raise
    except (ValueError, RecursionError, OSError) as error:
        raise damaged(path, error, hint) from None
    return said, sealed is not None


def damaged(path: Path, error: object, hint: str) -> InputError:
    """Name a file of ours that is not what it should be."""
    return InputError("out", f"a folder whose {path.name} is whole", f"{path} ({error})", hint)


class Seal(NamedTuple):
    """What a finished file was when it got its name.

    rows: of a table; steps: to which what it holds was run; code: by which.
    """

    sha256: str
    rows: int | None = None
    steps: int | None = None
    code: str | None = None

    def damage(self, path: Path) -> str | None:
        """Say what is wrong with the file; None where it is as it was written."""
        try:
            if not path.is_file():
                return "no file" if path.exists() else "missing"
            return None if digest(path) == self.sha256 else "not as it was written"
        except OSError as error:
            return f"unreadable: {error.strerror}"


@dataclass(frozen=True)
class Manifest:
    """Settings of what a folder holds, the steps it was run to, and its finished files by name.

    steps: may grow later; settings may not. codes: that it was made by, one after the other, see
    `theory.fingerprint.stamp`.
    """

    config: dict[str, Any]
    steps: int | None = None
    files: dict[str, Seal] = field(default_factory=dict)
    codes: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Replace the manifest of a folder."""
        files = {name: {k: v for k, v in seal._asdict().items() if v is not None}
                 for name, seal in sorted(self.files.items())}  # fmt: skip
        codes = list(self.codes) or None
        said = {"config": self.config, "steps": self.steps, "codes": codes, "files": files}
        write_sealed(folder / MANIFEST, {k: v for k, v in said.items() if v is not None})

    @classmethod
    def read(cls, folder: Path) -> tuple["Manifest", bool]:
        """Read that of a folder, and whether it is sealed.

        Raises `InputError` for one that is damaged or of something else.
        """
        path = folder / MANIFEST
        hint = "put back the one that was written, or choose another folder with --out"
        try:
            said, sealed = read_sealed(path, hint=hint)
        except FileNotFoundError as error:
            if path.is_symlink():
                raise damaged(path, error, hint) from None
            raise
        try:
            if not sealed and set(said) != {"config"}:
                raise ValueError("its digest is gone" if "files" in said else "not one of ours")
            files = {name: Seal(**about) for name, about in said.get("files", {}).items()}
            if any(Path(name).name != name for name in files):
                raise ValueError("it names files elsewhere")
            codes = tuple(map(str, said.get("codes", ())))
            return cls(dict(said["config"]), said.get("steps"), files, codes), sealed
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(path, error, hint) from None


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
