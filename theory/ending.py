"""How a command ends: what a user can mend is a sentence and an exit status, not a traceback."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from theory.errors import InputError
from theory.stopping import Terminated

FAILED, REFUSED, INTERRUPTED, BROKEN_PIPE = 1, 2, 130, 141
"""Exit statuses; a command that was asked to stop by SIGTERM has `Terminated.code`."""
STREAM = "standard output"
AGAIN, RESUME = "run it again", "go on with --resume"
"""What to do after an interruption."""


def ended(
    act: Callable[[], int | None],
    *,
    kept: str = AGAIN,
    failures: tuple[type[Exception], ...] = (),
) -> int:
    """Run a command to its exit status; bad input, files and signals are told on the error stream.

    2 for an `InputError`, and for a file that cannot be read or written; 130 after Ctrl-C, 143
    after SIGTERM, 141 where nobody reads the output any more; 1 for `failures` and where memory
    runs out.

    kept: what there is after an interruption, or what to do then.
    """
    try:
        with _stopping():
            status = act()
            _flush()
        return status or 0
    except BrokenPipeError:
        _silence()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _told(f"interrupted; {kept}", INTERRUPTED)
    except Terminated as stopped:
        return _told(str(stopped) if stopped.path else f"stopped on request; {kept}", stopped.code)
    except InputError as error:
        return _told(f"error: {error}", REFUSED)
    except OSError as error:
        return _told(f"error: {_trouble(error)}", REFUSED)
    except MemoryError as error:
        return _told(f"error: out of memory ({error}); choose something smaller", FAILED)
    except failures as error:
        return _told(f"error: {error}", FAILED)


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise `InputError` for an option whose value is empty, which a path would take as `.`."""
    for before, argument in zip(("argument", *arguments), arguments, strict=False):
        name, given, value = argument.partition("=")
        if not argument or (given and not value and name.startswith("--")):
            option = name if given else before
            raise InputError(option.lstrip("-"), "given a value", "''", f"leave {option} out")


def _trouble(error: OSError) -> str:
    """What an `OSError` says, the file that it is about, and what to do."""
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    told = InputError(
        "out", "a place that can be read and written",
        f"{' and '.join(files) or f'a file, or {STREAM}'} ({error.strerror or error})",
        "make room or mend that file, or choose another folder with --out",
    )  # fmt: skip
    return str(told)


def _told(text: str, status: int) -> int:
    with suppress(OSError, KeyboardInterrupt):
        _flush()
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
    return status


def _flush() -> None:
    """Have all output where it goes; a failure names the stream, and is met once."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _silence()
        raise OSError(error.errno, error.strerror, STREAM) from None


def _silence() -> None:
    """Let what is left of the output go nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _stopping() -> Iterator[None]:
    """Let SIGTERM be `Terminated`, where signals arrive."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
