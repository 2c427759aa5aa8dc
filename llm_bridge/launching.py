"""Where a command runs: its device, and the processes that a launcher started for it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch

from llm_bridge.processes import ALONE, Processes
from theory.errors import InputError

PATIENCE = timedelta(days=7)
"""For which a process waits for others, e.g. while the main one trains reward models."""
SHARDED = ("FSDP", "DEEPSPEED", "MEGATRON_LM")
"""What accelerate calls plugins that spread a model over processes."""


def check_device(device: str) -> None:
    """Raise `InputError` unless a device is one that PyTorch has here."""
    if _device(device).type == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "device", "one that PyTorch has here", repr(device),
            "use --device cpu, or install a PyTorch for this machine's GPU and driver",
        )  # fmt: skip


def check_alone(command: str, *, together: Sequence[str]) -> None:
    """Raise `InputError` where several processes were started for a command but those `together`.

    Each would do all of its work, and they would overwrite each other's files.
    """
    count = started()
    if count > 1 and command not in together:
        raise InputError(
            "command", f"{' or '.join(together)} where {count} processes were started", command,
            f"run python -m llm_bridge {command} without torchrun or accelerate launch",
        )  # fmt: skip


def started() -> int:
    """How many processes a launcher says that it started; 1 where none did."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def launched(device: str) -> Iterator[Processes]:
    """The processes that torchrun or accelerate started; `ALONE` where neither did.

    device: 'cpu', or e.g. 'cuda', of which every process takes one.

    Raises `InputError` for launches that would train something else than was asked for: a launcher
    that started one process of several, fewer devices than processes, or a model that is spread.
    """
    count = started()
    _check_launch(count, _device(device))
    if count == 1:
        check_device(device)
        yield ALONE
        return
    from accelerate import PartialState

    state = PartialState(cpu=_device(device).type == "cpu", timeout=PATIENCE)
    if state.num_processes != count:
        raise InputError(
            "device", f"one on which {count} processes can reach each other",
            f"{device!r}, on which accelerate found {state.num_processes}",
            "use --device cpu, or cuda with a GPU for each process",
        )  # fmt: skip
    yield Processes(state.process_index, count, state.device)
    state.destroy_process_group()


def _device(name: str) -> torch.device:
    try:
        return torch.device(name)
    except RuntimeError:
        raise InputError("device", "cpu, cuda or a GPU such as cuda:1", repr(name)) from None


def _check_launch(count: int, device: torch.device) -> None:
    env = os.environ
    if count == 1:
        if env.get("ACCELERATE_USE_CPU", "").lower() == "true" and "MASTER_ADDR" in env:
            raise InputError(
                "launch", "torchrun for several processes on CPUs",
                "accelerate launch --cpu, which starts one process",
                "torchrun --nproc_per_node N -m llm_bridge ...",
            )  # fmt: skip
        return
    for plugin in SHARDED:
        if env.get(f"ACCELERATE_USE_{plugin}", "").lower() == "true":
            raise InputError(
                "launch", "a configuration with the whole model on every process", plugin,
                "take distributed_type MULTI_GPU, and --adapter-rank for a large model",
            )  # fmt: skip
    here = int(env.get("LOCAL_WORLD_SIZE", count))
    if device.index is not None:
        raise InputError("device", "without a number for several processes", str(device), "cuda")
    if device.type == "cuda" and torch.cuda.device_count() < here:
        raise InputError(
            "device", f"cpu, or cuda with {here} GPUs for as many processes",
            f"cuda with {torch.cuda.device_count()}", "start one process for each GPU",
        )  # fmt: skip
