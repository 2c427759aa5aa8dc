"""Seconds of a policy's step in populations of several sizes: stacked adapters on one base."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np

from benchmarks.gpu_models import (
    BETA,
    RATE,
    TEMPERATURE,
    Context,
    asked_of,
    built,
    clean,
    make_tokenizer,
    reward_model,
)
from benchmarks.gpu_speed import FLOOR, ms, peak_gib, phases_of
from benchmarks.phases import Clock, arithmetic, watched
from llm_bridge.learner import Learner
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.sampling import Sampling
from llm_bridge.lm.stacked_actor import StackedActor
from llm_bridge.plans.architectures import Architecture
from llm_bridge.plans.costs import Model
from llm_bridge.population import Population
from llm_bridge.rewards.normalise import Normaliser
from theory.presets import vanilla, variance_aware_ppo

LORA = Lora(16, 32)
STUDY = (80, 192)
"""Policies and steps of the study that times are projected to [banerjee2024, sec. 5]."""


def population(context: Context) -> Iterator[tuple[str, Any]]:
    """Two objectives, ten members, all policies on one base and one reward trunk."""
    scale, config, scored_by = context.scale, context.scale.policy(), context.scale.reward()
    tokenizer = make_tokenizer(config.vocab_size)
    base = built(config, context.device, dtype=scale.dtype)
    reward = reward_model(scored_by, context, tokenizer)
    costs = (
        Model(Architecture("policy", config), LORA, precision=scale.precision),
        Model(Architecture("reward", scored_by), dtype=scale.dtype, trunk=True),
    )
    flops = arithmetic(*costs, scale.settings(), prompt=scale.prompt, response=scale.response)
    total = sum(flops.values())
    yield "TFLOP of a policy's step", {name: round(n / 1e12, 4) for name, n in flops.items()}
    if context.tflops is not None:
        least = total / (context.tflops * 1e12 * FLOOR)
        yield "floor of a policy's step in ms, at 40%", ms(least)
        yield "floor of the study in minutes", round(np.prod(STUDY) * least / 60, 2)
    rows, phases = [], []
    for policies, group in scale.populations:
        clean(context.device)
        clock = Clock(context.device)
        made = _population(context, base, reward, tokenizer, clock, policies, group)
        run = made.run(10**9)
        with watched(made, clock):
            next(run)
            seconds = []
            for _ in range(scale.population_steps):
                started = clock.now()
                next(run)
                seconds.append((clock.now() - started) / policies)
            clock.on = True
            with clock.phase("other"):
                next(run)
            clock.on = False
        each = float(np.median(seconds))
        rows.append({
            "policies": policies, "together": group, "ms a policy-step": ms(each),
            "utilisation": context.utilisation(total, each), "peak GiB": peak_gib(context.device),
            "trained GiB": round(made.memory() / 2**30, 3),
            "minutes of the study": round(np.prod(STUDY) * each / 60, 2),
        })  # fmt: skip
        spent = {name: s / policies for name, s in clock.seconds.items()}
        phases += phases_of(context, f"{policies} policies", spent, flops)
        yield "populations", rows
        yield "phases", phases
        run.close()
        made.actor.adapters.remove()
        del made, run


def _population(
    context: Context,
    base: Any,
    reward: Any,
    tokenizer: Any,
    clock: Clock,
    policies: int,
    group: int,
) -> Population:
    scale = context.scale
    asked, given = asked_of(base.config.vocab_size, scale.prompt)
    score = clock.timed("reward read", reward.score)
    normaliser = Normaliser.fit(score, dict(zip(asked, given, strict=True)))
    settings = scale.settings(lora=LORA, decoding="graphs", learning_rate=RATE)
    sampling = Sampling(scale.response, temperature=TEMPERATURE)
    members = normaliser.scale.numel()
    learners = [
        Learner(
            normaliser, asked,
            (vanilla, variance_aware_ppo)[place % 2](BETA, member=place // 2 % members), settings,
            sampling=sampling, seed=place,
        )
        for place in range(policies)
    ]  # fmt: skip
    actor = StackedActor(
        deepcopy(base), LORA, range(policies), temperature=TEMPERATURE, precision=scale.precision
    )
    return Population(
        actor, tokenizer, normaliser, None, learners, limit=scale.prompt + scale.response,
        group=group,
    )  # fmt: skip
