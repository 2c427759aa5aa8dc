"""Writing results so that nothing is lost: whole files or none, and early complaints."""

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from theory.errors import InputError


def output_folder(path: Path) -> Path:
    """Create a folder and check that it can be written to, before anything is computed.

    Raises `InputError` where it cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(
            "out", "a folder that can be written to", f"{path} ({error.strerror})",
            "choose another with --out",
        ) from None  # fmt: skip
    return path


def write(path: Path, save: Callable[[Path], object]) -> Path:
    """Let `save` write a temporary neighbour, then put it in place in one step."""
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}.{path.name}")
    try:
        save(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    """`write` for text."""
    return write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
