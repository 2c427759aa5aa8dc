"""PPO on many policies of one program, against the same policies trained one after the other.

Run with `OMP_NUM_THREADS=1 pytest benchmarks/test_population_ppo.py --benchmark-enable -s`. GPT-2
of 4 layers of 256 and 50,258 words, adapters of rank 16; prompts of 8 tokens, responses of 10.
Alone, a policy is a `Trainer` on peft's adapters. Seconds of the processor, medians, in turns.
"""

import time
from copy import deepcopy
from statistics import median

import numpy as np
import pytest
import torch
from transformers import GPT2Config

from benchmarks.gpu_models import asked_of, built, make_tokenizer
from llm_bridge.actors import make_actor
from llm_bridge.learner import Learner
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.sampling import Sampling, draw
from llm_bridge.lm.stacked_actor import StackedActor
from llm_bridge.population import Population
from llm_bridge.ppo import Trainer
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.settings import Settings
from theory.presets import vanilla
from theory.scores import Scores

POLICIES, PROMPT, RESPONSE, TURNS = 16, 8, 10, 3
CONFIG = GPT2Config(
    vocab_size=50258, n_embd=256, n_layer=4, n_head=4, n_positions=64, bos_token_id=50257,
    eos_token_id=50257, pad_token_id=50257,
)  # fmt: skip
GROUPS = (16, 8, 4)


@pytest.fixture(scope="module", params=[2, 8], ids=lambda rows: f"{rows}_rows")
def both(request):
    """A population, and its policies alone."""
    torch.set_num_threads(1)
    base, tokenizer = built(CONFIG, torch.device("cpu")), make_tokenizer(CONFIG.vocab_size)
    asked, given = asked_of(CONFIG.vocab_size, PROMPT)

    def score(_, responses):
        return Scores(torch.tensor([[float(len(text))] for text in responses]))

    normaliser = Normaliser.fit(score, dict(zip(asked, given, strict=True)))
    settings = Settings(
        batch=request.param, epochs=1, minibatches=1, learning_rate=1e-3, lora=Lora(16, 32)
    )
    sampling = Sampling(RESPONSE)
    actor = StackedActor(deepcopy(base), settings.lora, range(POLICIES))
    learners = [
        Learner(normaliser, asked, vanilla(0.05), settings, sampling=sampling, seed=place)
        for place in range(POLICIES)
    ]
    together = Population(actor, tokenizer, normaliser, None, learners, limit=PROMPT + RESPONSE)
    alone = [
        Trainer(
            make_actor(base, settings, temperature=1.0, seed=place), None, tokenizer, normaliser,
            None, asked, vanilla(0.05), settings, sampling=sampling, limit=PROMPT + RESPONSE,
            seed=place,
        )
        for place in range(POLICIES)
    ]  # fmt: skip
    return together, alone


def decoded(trainer, actor, learners):
    asked = [own.ask() for own in learners]
    prompts = [prompt for own in asked for prompt in own.prompts]
    uniforms = torch.cat([own.uniforms for own in asked])
    draw(actor.model, trainer.tokenizer, prompts, trainer.sampling, limit=trainer.limit,
         uniforms=uniforms)  # fmt: skip


def decoding(together, alone):
    """Tokens, on a cache."""
    return (
        lambda: decoded(together, together.actor, together.learners),
        lambda: [decoded(own, own.actor, [own]) for own in alone],
    )


def rollout(together, alone):
    """Tokens, read by policy, reference and reward models."""
    every = range(POLICIES)
    return lambda: together.rollout(every), lambda: [own.rollout() for own in alone]


def update(together, alone):
    """An epoch of one minibatch, in the groups that a user may choose; the best counts."""
    every = list(range(POLICIES))
    rolled = together.rollout(every)

    def as_one(size):
        for start in range(0, POLICIES, size):
            group = every[start : start + size]
            together.update(group, [rolled[i] for i in group], 1)

    def one_by_one():
        for own, its in zip(alone, rolled, strict=True):
            own.update(its, own.advantage(its, own.shape(its)))

    return *(lambda size=size: as_one(size) for size in GROUPS), one_by_one


def seconds(act):
    started = time.process_time()
    act()
    return time.process_time() - started


@pytest.mark.parametrize("phase", [decoding, rollout, update])
def test_population_against_one_by_one(both, phase, benchmark):
    together, alone = both
    *acts, one_by_one = phase(together, alone)
    times = np.array([[seconds(act) for act in (*acts, one_by_one)] for _ in range(TURNS + 1)])
    *fast, slow = (median(column) for column in times[1:].T)
    benchmark.pedantic(acts[0])
    rows = together.settings.batch
    benchmark.extra_info |= {"rows": rows, "one by one": slow, "together": list(fast)}
    said = ", ".join(f"{slow / own:.2f}" for own in fast)
    print(
        f"\n{POLICIES} policies, {rows} rows, {phase.__name__}: {slow:.3f} s one by one, {said} x"
    )
