"""True rewards by name: kind words, a published reward model, or a function of one's own."""

import importlib
from collections.abc import Sequence

import numpy as np

from llm_bridge.data.pairs import Judge
from llm_bridge.judging.kindness import Kindness
from llm_bridge.lm.checkpoints import load_judge
from theory import checks
from theory.errors import InputError

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
        return checked(_imported(module, function))
    return checked(load_judge(name, dtype=dtype, device=device))


def checked(judge: Judge) -> Judge:
    """A judge that raises `InputError` unless it gives one finite number a response."""

    def judged(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        rewards = np.asarray(judge(prompts, responses), dtype=float)
        if rewards.shape != (len(responses),):
            raise InputError("judge", f"{len(responses)} rewards", f"shape {rewards.shape}")
        checks.finite("judge", rewards)
        return rewards

    return judged


def _imported(module: str, function: str) -> Judge:
    """A user's own true reward: prompts and responses to (samples,)."""
    try:
        judge: Judge = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(
            "judge", "an importable `module:function`", f"{module}:{function} ({error})",
            "run from the module's folder, or set PYTHONPATH",
        ) from error  # fmt: skip
    return judge
