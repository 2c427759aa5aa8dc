"""`python -m llm_bridge`: the objectives on language models."""

import sys
from collections.abc import Callable
from typing import Any

import torch
import tyro

from llm_bridge.commands.choosing import BestOfN, choose
from llm_bridge.commands.evaluating import Evaluate, evaluate
from llm_bridge.commands.fine_tuning import Sft, sft
from llm_bridge.commands.rewarding import Reward, reward
from llm_bridge.commands.training import Compare, Ppo, compare, ppo
from llm_bridge.interruption import Terminated
from theory.errors import InputError

COMMANDS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "sft": (Sft, sft),
    "reward": (Reward, reward),
    "ppo": (Ppo, ppo),
    "best-of-n": (BestOfN, choose),
    "evaluate": (Evaluate, evaluate),
    "compare": (Compare, compare),
}


def main() -> int:
    """Exit status: 0, 1 where a run failed, 2 for bad input, 143 where asked to stop."""
    torch.set_num_threads(1)
    options = tyro.extras.subcommand_cli_from_dict(
        {name: kind for name, (kind, _) in COMMANDS.items()},
        config=(tyro.conf.AvoidSubcommands,),
    )
    act = next(act for kind, act in COMMANDS.values() if type(options) is kind)
    try:
        act(options)
    except (InputError, RuntimeError, Terminated) as error:
        print(f"error: {error}", file=sys.stderr)
        return {InputError: 2, Terminated: 143}.get(type(error), 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
