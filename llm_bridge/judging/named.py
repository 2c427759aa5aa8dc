"""True rewards by name: kind words, a published reward model, or a function of one's own."""

import importlib

from llm_bridge.data.pairs import Checked, Judge
from llm_bridge.judging.kindness import Kindness
from llm_bridge.lm.checkpoints import load_judge
from theory.errors import InputError
from theory.returned import tried

KINDNESS = "kindness"


def is_published(name: str) -> bool:
    """Tell whether a judge's name is that of a published reward model."""
    return name != KINDNESS and not name.partition(":")[2].isidentifier()


def judge_of(name: str, *, dtype: str = "float32", device: str = "cpu") -> Judge:
    """'kindness', `module:function`, or else a published reward model, in a dtype on a device.

    Raises `InputError` for a function that is not there, and as `load_judge`.
    """
    if name == KINDNESS:
        return Kindness().all
    module, _, function = name.partition(":")
    if not is_published(name):
        return Checked(_imported(module, function))
    return Checked(load_judge(name, dtype=dtype, device=device))


def try_judge(name: str | None) -> None:
    """Have a function of one's own judge two texts, before anything is loaded or trained.

    Raises `InputError` where it is not there, fails, or gives other than two finite numbers.
    """
    if name is not None and not is_published(name):
        tried("judge", judge_of(name))


def _imported(module: str, function: str) -> Judge:
    """A user's own true reward: prompts and responses to (samples,)."""
    try:
        judge: Judge = getattr(importlib.import_module(module), function)
    except Exception as error:  # a module of the user's own may raise anything
        raise InputError(
            "judge", "an importable `module:function`",
            f"{module}:{function} ({type(error).__name__}: {error})",
            "run from the module's folder, or set PYTHONPATH",
        ) from error  # fmt: skip
    if not callable(judge):
        raise InputError("judge", "a function", f"{module}:{function}, a {type(judge).__name__}")
    return judge
