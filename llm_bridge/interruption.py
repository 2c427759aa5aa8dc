"""Training that can be cut off at any moment: states on disk, and a signal that asks to stop."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from theory.errors import InputError
from theory.files import output_folder, write
from theory.stopping import Terminated


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state that is there whole or not at all.

    Raises `InputError` where it cannot be written; what was saved before is then still there.
    """
    output_folder(path.parent)
    try:
        write(path, lambda file: torch.save(state, file))
    except (OSError, RuntimeError) as error:
        raise InputError(
            "checkpoint", "room to be written", f"{path} ({error})",
            "free some space and resume: the last one is intact",
        ) from error  # fmt: skip


def load_state(path: Path, device: Any) -> dict[str, Any]:
    """What `save_state` wrote; tensors and plain values only."""
    return dict(torch.load(path, map_location=device, weights_only=True))


@contextmanager
def termination(state: Path) -> Iterator[Callable[[], bool]]:
    """Hold SIGTERM back for the time being, and tell whether it came; `Terminated` at the end then.

    state: the file that says where to go on. Signals reach the main thread alone; elsewhere the
    answer is always no.
    """
    asked = False
    if threading.current_thread() is not threading.main_thread():
        yield lambda: asked
        return

    def note(*_: Any) -> None:
        nonlocal asked
        asked = True

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGTERM, before)
    if asked:
        raise Terminated(state)
