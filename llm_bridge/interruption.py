"""Training that can be cut off at any moment: a signal that asks to stop."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from theory.stopping import Terminated


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
