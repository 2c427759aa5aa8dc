"""States of trainings on disk: what they are of, whole or refused, and by which code.

A file holds what `torch.save` wrote, and a checksum of it: the zip that torch writes has some which
its reader does not look at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from theory.damage import readable
from theory.errors import InputError
from theory.files import output_folder, write
from theory.fingerprint import digest_of, versions
from theory.integrity import add_checksum, has_checksum

VERSION = 2
"""Of what is in a file."""
REQUIRED = "whole, as it was written"
REMEDY = "delete it: what it is of is then computed again from the start"


@dataclass(frozen=True)
class StateFile:
    """Where a training keeps its state.

    of:     the training, as printed; a file of another is refused.
    code:   that trains, see `theory.fingerprint.stamp`; a state of another is refused, unless
            `accept` takes it.
    """

    path: Path
    of: str
    code: str
    accept: bool = False

    @classmethod
    def within(cls, folder: Path, kind: str, of: Any, code: str, *, accept: bool) -> "StateFile":
        """The file of one training in a folder of many."""
        told = repr(of)
        return cls(folder / f"{kind}-{digest_of(told)}.pt", told, code, accept)

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a state that is there whole or not at all; tensors and plain values only.

        Raises `InputError` where it cannot be written; what was saved before is then still there.
        """
        about = {"version": VERSION, "of": self.of, "code": self.code, "packages": versions()}
        output_folder(self.path.parent)
        try:
            write(self.path, lambda file: _saved(file, {**about, "state": dict(state)}))
        except (OSError, RuntimeError) as error:
            raise InputError(
                "checkpoint", "room to be written", f"{self.path} ({error})",
                "free some space and resume: the last one is intact",
            ) from error  # fmt: skip

    def load(self, device: Any) -> tuple[dict[str, Any], str]:
        """Read what `save` wrote, and by which code.

        Raises `InputError` for a file that is damaged, of another training, or of other code.
        """
        with readable(self.path, "state", REQUIRED, REMEDY):
            if not has_checksum(self.path):
                raise InputError("state", REQUIRED, f"{self.path}, which is damaged", REMEDY)
            found = torch.load(self.path, map_location=device, weights_only=True)
            version, of, code = found["version"], str(found["of"]), str(found["code"])
            packages, state = dict(found["packages"]), dict(found["state"])
        if version != VERSION or of != self.of:
            raise InputError("state", f"that of {self.of}", f"{self.path}, of {of}", REMEDY)
        if code != self.code and not self.accept:
            moved = [f"{name} {packages.get(name)} (now {now})"
                     for name, now in versions().items() if packages.get(name) != now]  # fmt: skip
            raise InputError(
                "resume", f"by the code of {self.path}, {code}",
                ", ".join([self.code, *moved]),
                "go on with --accept-code, which marks the rows, or delete that file to have them "
                "computed again",
            )  # fmt: skip
        return state, code


def _saved(path: Path, content: dict[str, Any]) -> None:
    torch.save(content, path)
    add_checksum(path)
