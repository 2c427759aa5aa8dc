"""Damaged files: whatever they do to their reader, the user is told which file it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from theory.errors import InputError

PASSING = ("OutOfMemoryError",)
"""Errors by name that say nothing about a file, as `MemoryError` does not."""


@contextmanager
def readable(path: Path | str, argument: str, required: str, hint: str = "") -> Iterator[None]:
    """Translate what goes wrong while a file or folder is read into an `InputError` that names it.

    Readers of other libraries raise whatever they stumble over in a damaged file, so that no list
    of exceptions is ever complete. An `InputError` that names the path already stays as it is.

    >>> with readable("notes.json", "notes", "JSON"):
    ...     {}["missing"]
    Traceback (most recent call last):
    theory.errors.InputError: `notes` must be JSON, got notes.json (KeyError: 'missing')
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        if type(error).__name__ in PASSING:
            raise
        if isinstance(error, InputError) and str(path) in str(error):
            raise
        raise InputError(argument, required, f"{path} ({_told(error)})", hint) from error


def _told(error: Exception) -> str:
    """In a line: the first, and the next where that announces it."""
    first, *others = [line.strip() for line in str(error).strip().splitlines()] or [""]
    if first.endswith(":") and others:
        first = f"{first} {others[0]}"
    if isinstance(error, InputError):
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
