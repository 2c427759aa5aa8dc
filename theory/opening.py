"""Opening files that others wrote: compression, size and encoding are checked as they are read."""

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from theory.errors import InputError

LIMIT_VARIABLE = "RLHF_RISK_TABLE_LIMIT"
"""Environment variable that holds another limit than `LIMIT`, in bytes."""
LIMIT = 2**31
"""Bytes that a file may have, once decompressed."""
LONGEST = 2**24
"""Bytes that a line, and characters that a cell of a CSV file, may have."""
BLOCK = 2**20
"""Bytes that are read at once."""
DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)
SIGNATURES = {
    b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh91AY": "bzip2", b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard", b"PAR1\x15": "Parquet", b"\xd0\xcf\x11\xe0": "old Excel",
}  # fmt: skip
"""Names of formats that are not text, by their first bytes."""
MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip


class Unreadable(Exception):
    """Why a file cannot be read: what is required, what arrived, and what to try."""

    def __init__(self, required: str, arrived: str, hint: str = "") -> None:
        super().__init__(required, arrived, hint)


class _Bounded(io.RawIOBase):
    """A stream that ends in `Unreadable` beyond a number of bytes."""

    def __init__(self, source: Any, limit: int) -> None:
        self.source, self.left, self.limit = source, limit, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = cast(int, self.source.readinto(buffer))
        self.left -= count
        if self.left < 0:
            raise too_large(self.limit)
        return count


def size_limit() -> int:
    """Read the limit on the size of a file from the environment, `LIMIT` unless it is set.

    Raises `InputError` for what is no number of bytes.
    """
    told = os.environ.get(LIMIT_VARIABLE)
    if told is None:
        return LIMIT
    if not (told.isascii() and told.isdigit() and int(told)):
        raise InputError(LIMIT_VARIABLE, "a number of bytes, e.g. 8000000000", repr(told))
    return int(told)


def too_large(limit: int) -> Unreadable:
    """What is raised for a file beyond the limit."""
    return Unreadable(
        f"at most {limit:,} bytes, decompressed", "more",
        f"split the file, or raise the limit by the environment variable {LIMIT_VARIABLE}",
    )  # fmt: skip


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file, decompressed where its name ends in .gz.

    Raises `Unreadable` beyond `size_limit()` and for damaged gzip.
    """
    compressed = path.suffix == ".gz"
    with gzip.open(path) if compressed else path.open("rb") as source:
        try:
            yield io.BufferedReader(_Bounded(source, size_limit()), BLOCK)
        except DAMAGE as error:
            raise Unreadable("a whole .gz file", f"a damaged or cut one ({error})") from None


def lines(stream: io.BufferedReader, longest: int = LONGEST) -> Iterator[str]:
    """Yield the lines of a text in UTF-8, byte order mark removed, their ends left as they are.

    Raises `Unreadable` for other encodings and formats, named where they are recognised, and for
    lines of more than `longest` bytes.
    """
    _check_head(stream.peek(8))
    number = 0
    while data := stream.readline(longest + 1):
        number += 1
        if len(data) > longest:
            raise Unreadable(f"lines of at most {longest:,} bytes", f"more in line {number}")
        try:
            line = data.decode()
        except UnicodeDecodeError as error:
            raise Unreadable(
                "text in UTF-8", f"a stray byte 0x{data[error.start]:02x} in line {number}",
                "save it in UTF-8",
            ) from None  # fmt: skip
        line = line.removeprefix("\ufeff") if number == 1 else line
        yield from io.StringIO(line, newline="") if "\r" in line else (line,)


def _check_head(head: bytes) -> None:
    """Raise for the first bytes of what is no text in UTF-8."""
    encoding = next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
    if encoding is None and len(head) >= 2 and (head[0] == 0) != (head[1] == 0):
        encoding = "UTF-16 or UTF-32"
    if encoding:
        raise Unreadable("text in UTF-8", f"text in {encoding}", "save it in UTF-8")
    kind = next((name for mark, name in SIGNATURES.items() if head.startswith(mark)), None)
    if kind is None:
        return
    hint = {"gzip": "add .gz to its name", "Parquet": "name it .parquet"}.get(kind, "unpack it")
    raise Unreadable("text in UTF-8", f"a file in the format {kind}", hint)
