"""What torchrun starts for `test_processes.py`: python two_processes.py FOLDER COMMAND ...

One process of two. FOLDER/task.pkl holds a world and how it is trained; each process writes
`found-RANK.pt`. Then it is `python -m llm_bridge COMMAND ...`.
"""

import os
import pickle
import runpy
import signal
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState

from llm_bridge.launching import launched
from llm_bridge.ppo import Trainer
from theory.errors import InputError
from theory.stopping import Terminated


def exchange(processes):
    """Every way in which processes talk, with numbers that differ between them."""
    rank = processes.rank
    pair = [torch.tensor([1.0 + rank]), torch.full((2, 2), 10.0 * rank)]
    processes.add(pair)
    copied = [torch.arange(3.0) + rank]
    processes.copy(copied)
    judge = processes.judged(lambda prompts, _: np.array([float(len(text)) for text in prompts]))

    def fail():
        if rank == 1:
            raise InputError("prompts", "short", "long")

    errors = []
    for act in (lambda: processes.gather(fail), lambda: processes.agree("out", rank == 0)):
        try:
            act()
        except InputError as error:
            errors.append(str(error))
    return {
        "share": processes.share([0, 1, 2, 3]),
        "gather": processes.gather(lambda: rank * 2),
        "tell": processes.tell("from the main one" if processes.main else "unheard"),
        "any": (processes.any(rank == 1), processes.any(False)),
        "totals": processes.totals({"a": 1.0 + rank, "b": 0.5}),
        "add": torch.cat([x.flatten() for x in pair]).tolist(),
        "copy": copied[0].tolist(),
        "judged": judge(["a", "bb", "ccc", "dddd"], [""] * 4).tolist(),
        "errors": errors,
    }


def rows_of(world, task):
    return [frame.iloc[0].to_dict() for frame in world.train(*task["asked"], **task["times"])]


def interrupted(world, task):
    """The rows of a training that one process alone is asked to stop, and of its resumption."""
    rollout = Trainer.rollout

    def asked(trainer):
        if trainer.step == 1 and not world.processes.main:
            os.kill(os.getpid(), signal.SIGTERM)
        return rollout(trainer)

    Trainer.rollout, stopped = asked, False
    try:
        rows_of(world, task)
    except Terminated:
        stopped = True
    Trainer.rollout = rollout
    return stopped, rows_of(world, task)


def parameters_of(world, task):
    """After training, on this process."""
    objective, settings, (seed,) = task["asked"]
    trainer = world.trainer(objective, settings, seed)
    for _ in trainer.run(task["times"]["steps"]):
        pass
    return torch.cat([p.detach().flatten() for p in trainer.parameters])


def main(folder, command):
    torch.set_num_threads(1)
    task = pickle.loads((folder / "task.pkl").read_bytes())
    with ExitStack() as stack:
        processes = stack.enter_context(launched("cpu"))
        assert processes.count == PartialState().num_processes == 2
        world = replace(task["world"], processes=processes)
        found = {"exchange": exchange(processes), "rows": rows_of(world, task)}
        found["parameters"] = parameters_of(world, task)
        states = replace(world, states=folder / "states")
        found["stopped"], found["resumed"] = interrupted(states, task)
        torch.save(found, folder / f"found-{processes.rank}.pt")
        sys.argv = ["llm_bridge", *command]
        runpy.run_module("llm_bridge", run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
