"""The commands of `python -m llm_bridge`, and their options on the command line."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Annotated, Any, Union

import torch
import tyro

from llm_bridge.commands.choosing import BestOfN, choose
from llm_bridge.commands.evaluating import Evaluate, evaluate
from llm_bridge.commands.fine_tuning import Sft, sft
from llm_bridge.commands.papers import CHECKPOINT, PAPERS
from llm_bridge.commands.planning import plan as plan
from llm_bridge.commands.population import PopulationStudy, population
from llm_bridge.commands.refining import Ugda, ugda
from llm_bridge.commands.rewarding import Reward, reward
from llm_bridge.commands.training import Compare, Ppo, compare, ppo
from llm_bridge.embedded.tiny import SIZES
from theory import checks

COMMANDS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "sft": (Sft, sft),
    "reward": (Reward, reward),
    "ppo": (Ppo, ppo),
    "best-of-n": (BestOfN, choose),
    "evaluate": (Evaluate, evaluate),
    "compare": (Compare, compare),
    "ugda": (Ugda, ugda),
    "population": (PopulationStudy, population),
}
TOGETHER = ("ppo", "compare")
"""Commands that several processes of torchrun or accelerate can run together."""
PRESET, SCALE = "--preset", "--scale"


def parsed(arguments: Sequence[str]) -> Any:
    """Options of the command that is asked for; a paper's are defaults that others override.

    With a size of the embedded language, only what a paper says of ensemble and objectives holds.
    Without a paper, pretrained models have smaller learning rates than those trained from nothing.

    Raises `InputError` for an unknown paper.
    """
    split = [part for argument in arguments for part in argument.split("=", 1)]
    after = dict(pairwise(split))
    paper: dict[str, Any] = CHECKPOINT if "--policy" in split else {}
    if (name := after.get(PRESET)) is not None:
        checks.one_of("preset", name, PAPERS)
        found = PAPERS[name].small if after.get(SCALE) in SIZES else PAPERS[name].options
        paper = {"preset": name, **found}
    kinds = []
    for name, (kind, _) in COMMANDS.items():
        known = {f.name for f in fields(kind)}
        default = kind(**{key: value for key, value in paper.items() if key in known})
        kinds.append(Annotated[kind, tyro.conf.subcommand(name, default=default)])
    union: Any = Union[tuple(kinds)]  # noqa: UP007
    return tyro.cli(
        union,
        args=list(arguments), prog="python -m llm_bridge", config=(tyro.conf.AvoidSubcommands,),
    )  # fmt: skip


def act(options: Any) -> None:
    """Run the command of these options, with one thread."""
    torch.set_num_threads(1)
    next(run for kind, run in COMMANDS.values() if type(options) is kind)(options)
