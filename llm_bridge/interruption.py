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


class Terminated(SystemExit):
    """Asked to stop, and everything saved; exit status 143, as the shell gives for SIGTERM."""

    def __init__(self, path: Path) -> None:
        super().__init__(143)
        self.path = path

    def __str__(self) -> str:
        return f"stopped on request; go on with --resume (state in {self.path})"


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
def termination() -> Iterator[Callable[[], bool]]:
    """Hold SIGTERM back for the time being, and tell whether it came.

    Signals reach the main thread alone; elsewhere the answer is always no.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
