"""A run that is asked to stop by SIGTERM: first its worker processes, then the run itself."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from joblib import delayed
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.backend.process import LokyProcess

Pool = Callable[[Iterable[Any]], Iterable[Any]]
"""Runs tasks that `joblib.delayed` made, and hands over their outcomes."""

PATIENCE = 60.0
"""Seconds that workers have to save what they do, once asked to stop; then they are killed."""


class Terminated(SystemExit):
    """Asked to stop, and did, with exit status 143 as a shell gives for SIGTERM.

    path: of a state that was saved, if any.
    """

    code = 143

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        state = "" if self.path is None else f" (state in {self.path})"
        return f"stopped on request; go on with --resume{state}"


def stoppable(pool: Pool) -> Pool:
    """A pool of loky's processes, which stop where this process is asked to.

    On SIGTERM no further task is handed out, and the signal is passed on to the workers. A task
    that is under way ends by `Terminated`, at once unless it holds the signal back to save its
    state. Once no worker is left, `Terminated` is raised here. Signals reach the main thread alone:
    elsewhere the pool stays as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        return pool

    def outcomes(tasks: Iterable[Any]) -> Iterator[Any]:
        stops: list[Terminated] = []
        with _passed_on() as (asked, stop):
            wanted = takewhile(lambda _: not asked(), tasks)
            try:
                for outcome in pool(delayed(_guarded)(*task) for task in wanted):
                    if isinstance(outcome, Terminated):
                        stops.append(outcome)
                        stop()
                    else:
                        yield outcome
            except BrokenExecutor:
                if not asked():
                    raise
            if asked():
                get_reusable_executor(reuse=True).shutdown(wait=True)
                raise max(stops, key=lambda stopped: stopped.path is not None, default=Terminated())

    return outcomes


@contextmanager
def _passed_on() -> Iterator[tuple[Callable[[], bool], Callable[[], None]]]:
    """Pass SIGTERM on to the workers; whether it came, and a way to stop them without it."""
    asked = False

    def kill() -> None:
        for worker in _workers():
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)

    def stop(*_: Any) -> None:
        nonlocal asked
        first, asked = not asked, True
        if first:
            timer.start()
        for worker in _workers():
            worker.terminate()

    timer = threading.Timer(PATIENCE, kill)
    timer.daemon = True
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield lambda: asked, stop
    finally:
        signal.signal(signal.SIGTERM, before)
        timer.cancel()


def _workers() -> list[LokyProcess]:
    return [child for child in multiprocessing.active_children() if isinstance(child, LokyProcess)]


_received: list[int] = []
"""Signals by which this process, a worker, was asked to stop."""


def _guarded(task: Callable[..., Any], args: Iterable[Any], options: dict[str, Any]) -> Any:
    """In a worker: the outcome of a task, or `Terminated` from the moment it is asked to stop."""
    try:
        signal.signal(signal.SIGTERM, _stop)
        return Terminated() if _received else task(*args, **options)
    except Terminated as stopped:
        _note(signal.SIGTERM)
        return stopped
    finally:
        signal.signal(signal.SIGTERM, _note)


def _stop(number: int, *_: Any) -> None:
    signal.signal(signal.SIGTERM, _note)
    _note(number)
    raise Terminated


def _note(number: int, *_: Any) -> None:
    _received.append(number)
