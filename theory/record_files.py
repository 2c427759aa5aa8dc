"""CSV files of records: written frame by frame, and read only as they were written."""

import csv
import hashlib
import io
import warnings
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from theory.errors import InputError
from theory.files import WriteError, digest, put, read
from theory.manifest import Seal

CSV, PART = ".csv", ".csv.part"
"""Ends of the names of a cell that is finished, and of one that is not."""
CODE = "code"
"""Column that says which code made a row, where not all of them were made by the same."""
LABELS = ("objective", "world", "cell", CODE)
"""Columns that are text, whatever they look like."""
HEAD = 1 << 20
"""Bytes within which the first row of a file ends."""


def write_rows(folder: Path, cell: str, frames: Iterable[pd.DataFrame], steps: int | None) -> Seal:
    """Append frames as they come; the file gets its name when all are there.

    Raises `WriteError` where it cannot be written, or another process writes it too.
    """
    part, path, written = folder / f"{cell}{PART}", folder / f"{cell}{CSV}", hashlib.sha256()
    rows, frames = 0, iter(frames)
    try:
        part.unlink(missing_ok=True)
        file = part.open("xb", buffering=0)
    except OSError as error:
        raise WriteError.of(error, part) from error
    with file:
        for index, frame in enumerate(frames):
            text = frame.assign(cell=cell).to_csv(index=False, header=index == 0).encode()
            try:
                _write(file, text)
            except OSError as error:
                raise WriteError.of(error, part) from error
            written.update(text)
            rows += len(frame)
    try:
        if digest(part) != written.hexdigest():
            raise OSError("another process writes this file")
        put(part, path)
    except OSError as error:
        raise WriteError.of(error, path) from error
    return Seal(written.hexdigest(), rows, steps)


def read_rows(path: Path, seal: Seal) -> pd.DataFrame:
    """Read a finished file. Raises `InputError` for one that is not as it was written."""
    damage, content = None, b""
    try:
        content = read(path)
        if hashlib.sha256(content).hexdigest() != seal.sha256:
            damage = "not as it was written"
    except OSError as error:
        damage = str(error.strerror).lower()
    if damage is not None:
        raise _refused(path, damage)
    return _parsed(content) if content else pd.DataFrame()


def read_part(path: Path) -> pd.DataFrame | None:
    """Read the rows so far of a cell that is not finished; None for a file of something else.

    A row that is not whole is left out. Raises `InputError` for what cannot be read.
    """
    try:
        content = read(path)
        found = _parsed(content[: _whole(content)])
    except (OSError, ValueError) as error:
        raise _refused(path, error) from None
    return found if found.empty or _is_of(found, path.name.removesuffix(PART)) else None


def is_record(path: Path) -> bool:
    """Whether a file says that it is of a cell, finished or not, by the name of the file."""
    if path.name.endswith(PART):
        return True
    try:
        head = read(path)[:HEAD].decode(errors="replace")
        first = next(csv.DictReader(io.StringIO(head, newline="")), {})
    except (OSError, csv.Error):
        return False
    return first.get("cell") == path.name.removesuffix(CSV)


def adopted(path: Path, steps: int | None) -> Seal | None:
    """Seal a file of an earlier version, which kept no digests; None where it cannot be whole.

    steps: to which its runs went, where that is known. All rows are of this cell, none is there
    twice, and a run that ends early has no gaps.
    """
    try:
        content = read(path)
        found = _parsed(content)
    except (OSError, ValueError):
        return None
    if found.empty or _whole(content) != len(content) or not _is_of(found, path.stem):
        return None
    if {"seed", "step"} <= set(found) and not _without_gaps(found[["seed", "step"]], steps):
        return None
    return Seal(hashlib.sha256(content).hexdigest(), len(found), steps)


def _without_gaps(rows: pd.DataFrame, steps: int | None) -> bool:
    """Whether every seed has a row at each step from the first on, and some at the last."""
    if rows.isna().any(axis=None) or rows.duplicated().any():
        return False
    order = sorted(rows.step.unique())
    whole = all(sorted(own) == order[: len(own)] for _, own in rows.groupby("seed").step)
    return whole and steps in (None, order[-1])


def _parsed(content: bytes) -> pd.DataFrame:
    """Rows of a CSV of ours; none of an empty one. Raises `ValueError` for what is none."""
    if not content.strip():
        return pd.DataFrame()
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(
                io.BytesIO(content), dtype=dict.fromkeys(LABELS, str), keep_default_na=False,
                na_values=[""], index_col=False,
            )  # fmt: skip
        except pd.errors.ParserWarning as error:
            raise ValueError(str(error)) from None


def _write(file: io.FileIO, content: bytes) -> None:
    """Write all, or raise: a disk that is nearly full takes a part without a word."""
    while content:
        content = content[file.write(content) :]


def _whole(content: bytes) -> int:
    """Length up to the end of the last row that is complete: a line end outside of quotes."""
    end = len(content)
    while (end := content.rfind(b"\n", 0, end)) >= 0:
        if content.count(b'"', 0, end) % 2 == 0:
            return end + 1
    return 0


def _is_of(rows: pd.DataFrame, cell: str) -> bool:
    return "cell" in rows and bool((rows.cell == cell).all())


def _refused(path: Path, damage: object) -> InputError:
    return InputError(
        "records", "files that are as they were written", f"{path} ({damage})",
        "put it back, or have it computed again with --resume",
    )  # fmt: skip
