"""A training with its evaluations: rows as they come, and a state from which it can go on."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import pandas as pd

from llm_bridge.interruption import termination
from llm_bridge.processes import ALONE, Processes
from llm_bridge.states import REMEDY, REQUIRED, StateFile
from theory.damage import readable
from theory.errors import InputError
from theory.record_files import CODE
from theory.stopping import Terminated

Row = dict[str, Any]
Frame = tuple[int, str, list[Row]]
"""Step, code that made it, and rows."""


def evaluated(
    trainer: Any,
    describe: Callable[..., list[Row]],
    *,
    steps: int,
    every: int,
    state: StateFile | None,
    device: Any,
    together: Processes = ALONE,
    scheduled: str | None = None,
    close: Callable[[list[Row]], list[Row]] = list,
) -> Iterator[pd.DataFrame]:
    """Frames of the first step, of every so many, and of the last.

    trainer:   with `run`, `step`, `ended`, `state` and `load`, as `llm_bridge.ppo.Trainer`.
    describe:  what its `run` yields, to the rows of a frame; none for no frame.
    state:     from which a training that was cut off goes on, and one that had ended goes on to
               more steps: to the rows of one that was not. It is left behind; None keeps none.
    scheduled: name of what ends with the last step, if anything does: a training that was to end
               elsewhere is then of no use, and begins anew.
    close:     last rows, once their state is saved, to those of the last frame.

    Raises `Terminated` once all is saved where SIGTERM asked to stop, and `InputError` for a state
    that cannot be gone on with.
    """
    frames: list[Frame] = []
    code = "" if state is None else state.code
    known = state is not None and state.path.exists()
    together.agree("out", known)
    if state is not None and known:
        frames = _taken_up(trainer, state, steps, every, scheduled, device)
    mixed = any(made != code for _, made, _ in frames)

    def shown(frame: Frame) -> Iterator[pd.DataFrame]:
        step, made, rows = frame
        marked = [{**row, CODE: made} if mixed else row for row in rows]
        if marked:
            yield pd.DataFrame(close(marked) if step == steps else marked)

    for frame in frames:
        yield from shown(frame)
    with nullcontext(bool) if state is None else termination(state.path) as asked:
        for step, *done in trainer.run(steps):
            due = _due(step, steps, every) or trainer.ended
            stop = state is not None and together.any(asked())
            if due:
                frames.append((step, code, describe(step, *done)))
            if state is not None and (due or stop):
                kept = {"steps": steps, "every": every, "frames": frames,
                        "trainer": trainer.state()}  # fmt: skip
                together.on_main(partial(state.save, kept))
            if state is not None and stop:
                raise Terminated(state.path)
            if due:
                yield from shown(frames[-1])


def _due(step: int, steps: int, every: int) -> bool:
    return step == 1 or step % every == 0 or step == steps


def _taken_up(
    trainer: Any, state: StateFile, steps: int, every: int, scheduled: str | None, device: Any
) -> list[Frame]:
    """Put a state back; the frames before it, without the last one of a shorter training."""
    found, _ = state.load(device)
    with readable(state.path, "state", REQUIRED, REMEDY):
        before = int(found["steps"])
        frames = [(int(step), str(code), list(rows)) for step, code, rows in found["frames"]]
        reached = int(found["trainer"]["step"])
        if found["every"] != every:
            raise InputError("evaluate_every", f"{every}", found["every"])
        told = [step for step, _, _ in frames]
        due = [step for step in range(1, reached + 1) if _due(step, before, every)]
        if told not in (due, [*due, reached]):
            raise InputError("frames", f"those of {reached} steps", f"those of steps {told}")
        if any(row["step"] != step for step, _, rows in frames for row in rows):
            raise InputError("rows", "of the steps of their frames", "others")
    if reached > steps or (scheduled is not None and before != steps):
        why = f"ends at step {reached}" if reached > steps else f"has a {scheduled} of {before}"
        print(f"{state.path} {why} steps: the training begins anew", file=sys.stderr)
        return []
    with readable(state.path, "state", REQUIRED, REMEDY):
        trainer.load(found["trainer"])
    last = reached if trainer.ended else None
    return [frame for frame in frames if _due(frame[0], steps, every) or frame[0] == last]
