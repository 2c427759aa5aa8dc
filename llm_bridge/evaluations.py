"""A training with its evaluations: rows as they come, and a state from which it can go on."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from llm_bridge.interruption import load_state, save_state, termination
from llm_bridge.processes import ALONE, Processes
from theory.stopping import Terminated

Row = dict[str, Any]


def evaluated(
    trainer: Any,
    describe: Callable[..., list[Row]],
    *,
    steps: int,
    every: int,
    state: Path | None,
    device: Any,
    together: Processes = ALONE,
) -> Iterator[pd.DataFrame]:
    """Frames of the first step, of every so many, and of the last.

    trainer:  with `run`, `state` and `load`, as `llm_bridge.ppo.Trainer`.
    describe: what its `run` yields, to the rows of a frame; none for no frame.
    state:    file of the state, from which a training that was cut off goes on to the same rows,
              and which is left behind; None keeps none.

    Raises `Terminated` once all is saved where SIGTERM asked to stop.
    """
    frames: list[list[Row]] = []
    known = state is not None and state.exists()
    together.agree("out", known)
    if state is not None and known:
        found = load_state(state, device)
        trainer.load(found["trainer"])
        frames = found["frames"]
    yield from map(pd.DataFrame, filter(None, frames))
    with nullcontext(bool) if state is None else termination(state) as asked:
        for step, *done in trainer.run(steps):
            due = step == 1 or step % every == 0 or step == steps
            stop = state is not None and together.any(asked())
            if due:
                frames.append(describe(step, *done))
            if state is not None and (due or stop):
                kept = {"trainer": trainer.state(), "frames": frames}
                together.on_main(partial(save_state, state, kept))
            if state is not None and stop:
                raise Terminated(state)
            if due and frames[-1]:
                yield pd.DataFrame(frames[-1])
