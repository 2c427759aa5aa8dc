"""Writing results so that nothing is lost: whole files or none, one writer a folder, digests."""

import errno
import hashlib
import os
import platform
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from theory.errors import InputError

LOCK = ".lock"
"""File of a folder that whoever changes a shared file in it holds."""
RUN = ".run"
"""File of a folder that whoever computes what goes into it holds, from beginning to end."""
PATIENCE = 60.0
"""Seconds that a short update of a shared file waits for another process."""
NODE = re.sub(r"[^\w-]", "-", platform.node())[:40]
"""Name of this machine, in letters that the name of a file may have."""
_LEFT_OVER = re.compile(r"\.(?:(?P<node>[\w-]*)~)?(?P<process>\d+)-\d+\..+", re.DOTALL)


class WriteError(InputError):
    """A file could not be written: no room, no permission, or something else has its name."""

    @classmethod
    def of(cls, error: OSError, path: Path, *, argument: str = "out", option: str = "--out"):
        """What `error` says of a file."""
        return cls(
            argument, "a place that can be written to", f"{path} ({error.strerror or error})",
            f"make room or mend that file, or choose another with {option}",
        )  # fmt: skip


def output_folder(path: Path, *, argument: str = "out", option: str = "--out") -> Path:
    """Create a folder and check that it can be written to, before anything is computed.

    Temporary files of processes that were killed there are removed. `argument` and `option` are
    what messages call the folder. Raises `InputError` where it cannot be written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            sweep(path)
    except OSError as error:
        raise InputError(
            argument, "a folder that can be written to", f"{path} ({error.strerror})",
            f"choose another with {option}",
        ) from None  # fmt: skip
    return path


def write(path: Path, save: Callable[[Path], object]) -> Path:
    """Let `save` write a temporary neighbour, and put it in place in one step once it is on disk.

    A reader, and whoever comes after a power cut, finds the old file or the new one, whole.
    """
    writer = f"{NODE}~{os.getpid()}-{threading.get_ident()}"
    temporary = path.with_name(f".{writer}.{path.name}")
    try:
        save(temporary)
        put(temporary, path)
    except OSError as error:
        if error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def put(file: Path, path: Path) -> None:
    """Give a file that is complete its name in one step, once it is on disk."""
    flush(file, os.O_RDWR)
    os.replace(file, path)
    flush(path.parent, os.O_RDONLY)


def write_text(path: Path, text: str) -> Path:
    """`write` for text, in UTF-8 and with line ends as they are in `text`."""
    return write(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def read(path: Path) -> bytes:
    """Read a file. Raises `OSError` for a folder, and for a pipe or device, which might not end."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return path.read_bytes()


def digest(path: Path) -> str:
    """SHA-256 of the content of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(folder: Path, *, wait: float = PATIENCE, name: str = LOCK) -> Iterator[None]:
    """Hold a folder against other processes; within one thread locks may be nested.

    wait: seconds to wait for another process; 0 refuses at once. name: of the lock.

    Raises `InputError` where another process still holds the folder.
    """
    try:
        lock = FileLock(folder / name, is_singleton=True).acquire(timeout=wait)
    except Timeout:
        raise InputError(
            "out", "a folder in which no other process is at work", str(folder),
            "wait until that one has ended, or choose another folder with --out",
        ) from None  # fmt: skip
    with lock:
        yield


def sweep(folder: Path) -> list[Path]:
    """Remove temporary files of this machine's processes that are no more; what was removed."""
    left = [path for path in folder.iterdir() if _abandoned(path)]
    for path in left:
        path.unlink(missing_ok=True)
    return left


def _abandoned(path: Path) -> bool:
    """Whether `write` made this file in a process of this machine that is gone."""
    found = _LEFT_OVER.fullmatch(path.name)
    if found is None or not path.is_file() or found["node"] not in (None, NODE):
        return False
    if os.name != "posix":  # elsewhere signal 0 is a real one
        return False
    try:
        os.kill(int(found["process"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def flush(path: Path, flags: int) -> None:
    """Flush a file, or the entries of a folder, to disk.

    flags: of `os.open`; read-only for a folder, which is let be where it cannot be opened.
    """
    try:
        descriptor = os.open(path, flags)
    except OSError:  # a folder cannot be opened everywhere
        if flags == os.O_RDONLY:
            return
        raise
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
