"""Speed of PPO and of reward models on a device, against the arithmetic that they are made of."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_models import (
    HEADS,
    Context,
    built,
    clean,
    make_tokenizer,
    make_trainer,
    reward_model,
    texts,
)
from benchmarks.phases import Clock, arithmetic, compiled, kernels, synchronisations, watched
from llm_bridge.plans.architectures import Architecture
from llm_bridge.plans.costs import Model

FLOOR = 0.4
"""Share of the peak that a step's arithmetic is allowed to reach."""
REPEATS = 7


def ceilings(context: Context) -> Iterator[tuple[str, Any]]:
    """What the device reaches: a matrix product on random numbers, and a copy."""
    clock, side = Clock(context.device), context.scale.matrix
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one, other = (
            torch.randn(side, side, device=context.device, dtype=torch.bfloat16) for _ in range(2)
        )
    product = _median(clock, partial(torch.matmul, one, other))
    yield "bfloat16 TFLOP/s", round(2 * side**3 / product / 1e12, 2)
    source = torch.randn(16 * side**2, device=context.device)
    target = torch.empty_like(source)
    copied = _median(clock, partial(target.copy_, source))
    yield "copy TB/s, read and written", round(8 * len(source) / copied / 1e12, 3)
    del one, other, source, target
    clean(context.device)


def ppo(context: Context) -> Iterator[tuple[str, Any]]:
    """Steps with a reward model of the policy's own size."""
    yield from _steps(context, context.scale.policy())


def both(context: Context) -> Iterator[tuple[str, Any]]:
    """Steps with the large reward model: what the papers do."""
    yield from _steps(context, context.scale.reward())


def reward(context: Context) -> Iterator[tuple[str, Any]]:
    """Scored texts and tokens a second at several sizes; then from text, with tokenising."""
    scale, config = context.scale, context.scale.reward()
    model = reward_model(config, context, make_tokenizer(scale.policy().vocab_size))
    cost = Model(Architecture("reward", config), dtype=scale.dtype, trunk=True)
    clock, rows = Clock(context.device), []
    yield "attention", f"{config._attn_implementation or model.trunk.config._attn_implementation}"
    yield "parameters of the trunk, and heads", [cost.loaded, HEADS]
    with torch.no_grad():
        for count, length in scale.texts:
            clean(context.device)
            batch = texts(count, length, model.trunk.config.vocab_size, context.device)
            seconds = _median(clock, lambda batch=batch: model(batch))
            rows.append({
                "texts": count, "tokens each": length, "ms": ms(seconds),
                "texts/s": round(count / seconds), "tokens/s": round(count * length / seconds),
                "utilisation": context.utilisation(cost.forward(count * length), seconds),
                "peak GiB": peak_gib(context.device),
            })  # fmt: skip
            yield "sizes", rows
    written = [" ".join(map(str, range(i, i + 5))) for i in range(scale.batch)]
    answers = [" " + " ".join(map(str, range(i, i + 10))) for i in range(scale.batch)]
    seconds = _median(clock, lambda: model.score(written, answers))
    yield "from text", {"texts": scale.batch, "ms": ms(seconds)}
    if context.device.type == "cuda":
        batch = texts(scale.batch, 15, model.trunk.config.vocab_size, context.device)
        try:
            with torch.no_grad():
                yield "kernels", kernels(lambda: model(batch))
        except RuntimeError as error:
            yield "kernels", f"the profiler failed: {error}"


def _steps(context: Context, scored_by: Any) -> Iterator[tuple[str, Any]]:
    """Variants of the same steps, one after the other, each on a copy of the same policy."""
    scale = context.scale
    config = scale.policy()
    tokenizer = make_tokenizer(config.vocab_size)
    policy = built(config, context.device)
    reward = reward_model(scored_by, context, tokenizer)
    costs = (
        Model(Architecture("policy", config), precision=scale.precision),
        Model(Architecture("reward", scored_by), dtype=scale.dtype, trunk=True),
    )
    flops = arithmetic(*costs, scale.settings(), prompt=scale.prompt, response=scale.response)
    total, floor = sum(flops.values()), None
    if context.tflops is not None:
        floor = total / (context.tflops * 1e12 * FLOOR)
    yield "TFLOP of a step", {name: round(n / 1e12, 4) for name, n in flops.items()}
    yield "floor of a step in ms, at 40%", None if floor is None else ms(floor)
    rows, phases = [], []
    variants = [("eager", None), ("graphs", None), *(("graphs", mode) for mode in scale.modes)]
    for decoding, mode in variants:
        name = decoding if mode is None else f"{decoding}, compiled ({mode})"
        clean(context.device)
        try:
            row, spent = _measured(context, policy, reward, tokenizer, decoding, mode)
        except Exception as error:
            if mode is None:
                raise
            rows.append({"variant": name, "error": repr(error)[:300]})
            yield "steps", rows
            continue
        seconds = row.pop("seconds")
        rows.append({
            "variant": name, "ms": ms(seconds),
            "tokens/s": round(scale.batch * (scale.prompt + scale.response) / seconds),
            "utilisation": context.utilisation(total, seconds),
            "over the floor": None if floor is None else round(seconds / floor, 2), **row,
        })  # fmt: skip
        phases += phases_of(context, name, spent, flops)
        yield "steps", rows
        yield "phases", phases


def phases_of(
    context: Context, variant: str, spent: dict[str, float], flops: dict[str, float]
) -> list[dict[str, Any]]:
    """Milliseconds of a step's phases, waiting at their ends, and what of the peak they reach."""
    return [
        {"variant": variant, "phase": name, "ms": ms(seconds),
         "utilisation": context.utilisation(flops[name], seconds) if name in flops else None}
        for name, seconds in sorted(spent.items(), key=lambda item: -item[1])
    ]  # fmt: skip


def _measured(
    context: Context, policy: Any, reward: Any, tokenizer: Any, decoding: str, mode: str | None
) -> tuple[dict[str, Any], dict[str, float]]:
    """Seconds of a step, and of its phases."""
    scale, clock = context.scale, Clock(context.device)
    trainer = make_trainer(
        policy, tokenizer, clock.timed("reward read", reward.score),
        scale.settings(decoding=decoding), prompt=scale.prompt, response=scale.response,
    )  # fmt: skip
    run = trainer.run(10**9)
    with watched(trainer, clock) as missing, compiled(mode):
        started = time.perf_counter()
        for _ in range(scale.warm):
            next(run)
        found: dict[str, Any] = {"warm-up s": round(clock.now() - started, 2)}
        seconds = []
        for _ in range(scale.steps):
            started = clock.now()
            next(run)
            seconds.append(clock.now() - started)
        found |= {
            "seconds": float(np.median(seconds)),
            "from ... to": f"{ms(min(seconds))} ... {ms(max(seconds))}",
            "peak GiB": peak_gib(context.device),
        }
        clock.on = True
        for _ in range(scale.watched):
            with clock.phase("other"):
                next(run)
        clock.on = False
        if context.device.type == "cuda" and mode is None:
            found["synchronisations"] = synchronisations(lambda: next(run))
    if missing:
        found["not found"] = missing
    run.close()
    return found, {name: s / scale.watched for name, s in clock.seconds.items()}


def _median(clock: Clock, act: Any) -> float:
    """Seconds, after two turns that do not count."""
    seconds = []
    for turn in range(REPEATS + 2):
        started = clock.now()
        act()
        if turn >= 2:
            seconds.append(clock.now() - started)
    return float(np.median(seconds))


def ms(seconds: float) -> float:
    return round(1e3 * seconds, 3)


def peak_gib(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    return round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
