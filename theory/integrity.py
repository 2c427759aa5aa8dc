"""Whether files are as they were written: checksums at the end of a file, or of a whole folder."""

import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from theory.errors import InputError
from theory.files import digest, write, write_text

SUMS = "SHA256SUMS"
"""File of the digests of a folder's files, as `sha256sum --check` reads it."""
MARK = b"\nsha256 "
LENGTH = len(MARK) + 64
"""Bytes of a checksum at the end of a file; readers of zip archives and arrays stop before it."""


def add_checksum(path: Path) -> None:
    """Append the digest of a file's content to it."""
    found = digest(path)
    with path.open("ab") as file:
        file.write(MARK + found.encode())


def has_checksum(path: Path) -> bool:
    """Tell whether a file is there and ends in the digest of the rest."""
    if not path.is_file() or (left := path.stat().st_size - LENGTH) < 0:
        return False
    found = hashlib.sha256()
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, 2**20))):
            found.update(block)
            left -= len(block)
        return file.read() == MARK + found.hexdigest().encode()


def write_sums(folder: Path) -> None:
    """Write the digests of all files of a folder beside them, but for hidden ones."""
    names = {path.name for path in folder.iterdir() if path.is_file()} - {SUMS}
    lines = [f"{digest(folder / name)}  {name}\n" for name in sorted(names) if name[0] != "."]
    write_text(folder / SUMS, "".join(lines))


def check_sums(folder: Path, argument: str, *, skip: str | None = None) -> None:
    """Raise `InputError` for a file that is not as `write_sums` found it; others may be there.

    Nothing is known of a folder without sums. skip: pattern of names that are not looked at.
    """
    path = folder / SUMS
    if not path.exists():
        return
    required, hint = f"as written, which {path} says", f"if you changed it, delete {path}"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(argument, "readable", f"{path} ({error})", "delete it") from None
    for line in lines or [""]:
        wanted, _, name = line.partition("  ")
        if len(wanted) != 64 or not name or Path(name).name != name:
            raise InputError(argument, "lines of sha256sum", f"{path} with {line!r}", "delete it")
        if skip is not None and Path(name).match(skip):
            continue
        if not (folder / name).is_file():
            raise InputError(argument, required, f"{folder} without {name}", hint)
        if digest(folder / name) != wanted:
            raise InputError(argument, required, f"{folder / name}, which is damaged", hint)


def kept_arrays(path: Path, compute: Callable[[], Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Read arrays that were kept in a file, or compute and keep them.

    A file that is damaged is computed again, with a word on stderr.
    """
    if not has_checksum(path):
        if path.exists():
            print(f"{path} is damaged, and is computed again", file=sys.stderr)
        found = dict(compute())

        def save(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez(file, **found)
            add_checksum(temporary)

        write(path, save)
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
