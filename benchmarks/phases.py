"""Where the time of a PPO step goes, seen from outside: `Trainer` is watched, not changed."""

import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile

from llm_bridge.plans.costs import Model
from llm_bridge.settings import Settings

FUNCTIONS = (
    ("llm_bridge.rollout", "log_probabilities", "reference read"),
    ("llm_bridge.ppo", "decode", "texts"),
    ("llm_bridge.population", "decode", "texts"),
    ("llm_bridge.lm.sampling", "encode_prompts", "tokenising"),
    ("llm_bridge.rewards.models", "encode", "tokenising"),
)
"""Modules, functions as these modules name them, and phases."""
METHODS = (
    ("rollout", "other"), ("shape", "advantages"), ("advantage", "advantages"),
    ("update", "update"), ("adam.step", "optimiser"),
)  # fmt: skip
"""Of a trainer."""


class Clock:
    """Seconds of phases, each without those inside it, and waiting for the device at its ends."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.on = device, False
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = 0.0

    def now(self) -> float:
        """Seconds, once the device has done what it was asked."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what is done within."""
        if not self.on:
            yield
            return
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that counts."""

        @wraps(function)
        def counted(*arguments: Any, **named: Any) -> Any:
            with self.phase(name):
                return function(*arguments, **named)

        return counted

    def _turn(self) -> None:
        now = self.now()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


@contextmanager
def watched(trainer: Any, clock: Clock) -> Iterator[list[str]]:
    """Phases of a trainer's steps for the time being; names that it has not (or no longer).

    Responses are drawn as its settings say, also where its module does not pass `decoding` on.
    """
    missing = []
    with ExitStack() as stack:

        def put(owner: Any, name: str, made: Callable[[Any], Any]) -> None:
            if hasattr(owner, name):
                stack.enter_context(patch.object(owner, name, made(getattr(owner, name))))
            else:
                missing.append(f"{getattr(owner, '__name__', type(owner).__name__)}.{name}")

        def drawing(draw: Callable[..., Any]) -> Callable[..., Any]:
            def drawn(*arguments: Any, **named: Any) -> Any:
                named.setdefault("decoding", trainer.settings.decoding)
                with clock.phase("decoding"):
                    return draw(*arguments, **named)

            return drawn

        def reading(forward: Callable[..., Any]) -> Callable[..., Any]:
            read = clock.timed("policy read", forward)
            return lambda *a, **n: (forward if torch.is_grad_enabled() else read)(*a, **n)

        put(import_module(type(trainer).__module__), "draw", drawing)
        put(trainer.actor, "forward", reading)
        for module, name, phase in FUNCTIONS:
            put(import_module(module), name, lambda f, phase=phase: clock.timed(phase, f))
        for path, phase in METHODS:
            *owners, name = path.split(".")
            owner = trainer
            for part in owners:
                owner = getattr(owner, part, None)
            put(owner, name, lambda f, phase=phase: clock.timed(phase, f))
        yield missing


@contextmanager
def compiled(mode: str | None) -> Iterator[None]:
    """Policies and references that read through `torch.compile`; None leaves them as they are."""
    if mode is None:
        yield
        return
    actor, made = import_module("llm_bridge.lm.actor"), {}
    plain = actor.response_states

    def states(model: Any, batch: Any) -> torch.Tensor:
        body = model.base_model
        if id(body) not in made:
            made[id(body)] = torch.compile(body, dynamic=False, mode=mode)
        return plain(SimpleNamespace(base_model=made[id(body)]), batch)

    torch._dynamo.reset()
    with patch.object(actor, "response_states", states):
        yield


def arithmetic(
    policy: Model, reward: Model, settings: Settings, *, prompt: int, response: int
) -> dict[str, float]:
    """FLOPs of every phase of a step; the last token of a response is drawn, but not read."""
    texts = settings.batch
    read = texts * (prompt + response - 1), texts * response
    return {
        "decoding": policy.forward(*read),
        "policy read": policy.forward(*read),
        "reference read": policy.forward(*read),
        "reward read": reward.forward(texts * (prompt + response + 1)),
        "update": settings.epochs * policy.learn(*read),
    }


def synchronisations(act: Callable[[], Any]) -> dict[str, int]:
    """Places in Python at which a CUDA device was waited for, and how often."""
    found: Counter[str] = Counter()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            act()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    for warning in seen:
        if "synchronizing" in str(warning.message):
            found["/".join(warning.filename.split("/")[-2:]) + f":{warning.lineno}"] += 1
    return dict(found.most_common(20))


def kernels(act: Callable[[], Any], most: int = 8) -> list[dict[str, float | str]]:
    """The CUDA kernels that took longest, with their shares of all kernels' time."""
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        act()
        torch.cuda.synchronize()
    spent: Counter[str] = Counter()
    for event in seen.key_averages():
        spent[event.key] += event.self_device_time_total
    total = sum(spent.values()) or 1
    return [{"kernel": k[:90], "share": round(v / total, 3)} for k, v in spent.most_common(most)]
