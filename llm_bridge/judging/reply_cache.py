"""Replies of a server on disk: each says which request it answers, and is believed if whole."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from theory.errors import InputError
from theory.files import output_folder, write_text


class Kept(NamedTuple):
    """A reply, and how many requests it took so far."""

    reply: str
    requests: int


@dataclass(frozen=True)
class ReplyCache:
    """A folder with a file a request, named by its digest.

    damaged: files that were cut, changed, or of another request, and are taken for missing.
    """

    folder: Path
    damaged: list[Path] = field(default_factory=list, compare=False)

    def open(self) -> None:
        """Create the folder; `InputError` where it cannot be written to."""
        output_folder(self.folder, argument="cache", option="--cache")

    def read(self, request: Mapping[str, Any]) -> Kept | None:
        """The reply to a request as it came; None where there is none that is whole."""
        file = self.path_of(request)
        try:
            found = json.loads(file.read_bytes())
            kept = Kept(found["reply"], found["requests"])
            whole = found == _described(file.stem, kept)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            whole = False
        if not whole:
            self.damaged.append(file)
            return None
        return kept

    def write(self, request: Mapping[str, Any], kept: Kept) -> None:
        """Keep a reply, in place of what was there. Raises `InputError` where that fails."""
        file = self.path_of(request)
        try:
            write_text(file, json.dumps(_described(file.stem, kept), indent=1))
        except OSError as error:
            raise InputError(
                "cache", "a folder with room for replies", f"{file} ({error.strerror})",
                "replies so far are kept; make room, or choose another with --cache",
            ) from None  # fmt: skip

    def path_of(self, request: Mapping[str, Any]) -> Path:
        """Name the file of a request."""
        return self.folder / f"{_digest(request)}.json"


def _described(request: str, kept: Kept) -> dict[str, Any]:
    """What a file holds: a digest of the rest with it."""
    about = {"request": request, **kept._asdict()}
    return {**about, "digest": _digest(about)}


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
