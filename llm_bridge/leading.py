"""Experiments on several processes: the main one runs them, the others join in what it trains."""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace

import pandas as pd

from llm_bridge.processes import Processes
from llm_bridge.settings import Settings
from llm_bridge.text_world import TextWorld
from theory.errors import InputError
from theory.experiment import World
from theory.objective import Objective


class Leader:
    """A world in whose trainings the other processes take part, see `theory.experiment.World`.

    lost: whether others may be in the middle of something else than this process. So it is during
    a training, and after one that was left by anything but an `InputError`, which all of them meet.
    """

    def __init__(self, world: TextWorld, processes: Processes) -> None:
        self.world, self.processes, self.lost = world, processes, False

    def __repr__(self) -> str:
        return repr(self.world)

    @property
    def name(self) -> str:
        """As quoted in records."""
        return self.world.name

    @property
    def code(self) -> str:
        """See `TextWorld`."""
        return self.world.code

    @property
    def commits(self) -> dict[str, str]:
        """See `TextWorld`."""
        return self.world.commits

    def train(
        self,
        objective: Objective,
        optimiser: Settings,
        seeds: Sequence[int],
        *,
        steps: int,
        evaluate_every: int,
    ) -> Iterator[pd.DataFrame]:
        """Rows of the whole batch, as of one process. Raises `RuntimeError` once `lost`."""
        if self.lost:
            raise RuntimeError("processes went apart in an earlier training; go on with --resume")
        self.lost = True
        times = {"steps": steps, "evaluate_every": evaluate_every}
        self.processes.tell((self.world, (objective, optimiser, list(seeds)), times))
        try:
            world = replace(self.world, processes=self.processes)
            yield from world.train(objective, optimiser, seeds, **times)
        except InputError:
            self.lost = False
            raise
        self.lost = False


@contextmanager
def leading(processes: Processes) -> Iterator[Callable[[TextWorld], World]]:
    """How the main process makes a world its own and the others'; these may go at the end."""
    led: list[Leader] = []

    def lead(world: TextWorld) -> World:
        if processes.count == 1:
            return world
        led.append(Leader(world, processes))
        return led[-1]

    try:
        yield lead
    finally:
        if not any(leader.lost for leader in led):
            processes.tell()


def follow(processes: Processes) -> None:
    """Take part in what the main process trains until it is done; say and write nothing."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while (task := processes.tell()) is not None:
            world, asked, times = task
            with suppress(InputError):
                for _ in replace(world, processes=processes).train(*asked, **times):
                    pass
