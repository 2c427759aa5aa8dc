"""A PPO step of `llm_bridge` against one of TRL's PPOTrainer, in turns within one process.

TRL 1.12 is the last with PPO. In an environment that has it next to this project, with its
versions of torch and transformers: `TRL_EXPERIMENTAL_SILENCE=1 OMP_NUM_THREADS=1 pytest
benchmarks/test_trl.py --benchmark-enable`. Model, prompts, batch, epochs, and lengths are the same.
`-k small` takes 4 minutes on a core, `-k gpt2`, of GPT-2's size, 15 minutes and 17 GB.
"""

import time
from copy import deepcopy

import numpy as np
import pytest
import torch
from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel

from benchmarks.trl_peer import config, has_trl, make_tokenizer, their_trainer
from llm_bridge.actors import make_actor
from llm_bridge.lm.checkpoints import fuse_activations
from llm_bridge.lm.sampling import Sampling
from llm_bridge.ppo import Trainer
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.settings import Settings
from theory.presets import vanilla
from theory.scores import Scores

WORDS = 50258
BATCH, EPOCHS, TOKENS, PROMPTS = 32, 4, 10, 256
RATE, BETA, TEMPERATURE = 3e-6, 0.05, 0.7
SIZES = {
    "small": {"layers": 4, "width": 256, "heads": 4, "n_positions": 64},
    "gpt2": {"layers": 12, "width": 768, "heads": 12, "n_positions": 64},
}
TURNS = {"small": 5, "gpt2": 2}
"""Of each after one to warm up."""
OURS = {
    "separate_critic": {"critic": "separate"},
    "shared_critic": {},
    "separate_critic_bfloat16": {"critic": "separate", "precision": "bfloat16"},
    "shared_critic_bfloat16": {"precision": "bfloat16"},
}
COMPARED = {"small": list(OURS), "gpt2": [name for name in OURS if name != "shared_critic"]}
"""All of them of GPT-2's size would take 19 GB."""


def make_prompts():
    """Of 2 to 8 tokens, as beginnings of IMDB reviews."""
    rng = np.random.default_rng(0)
    return [rng.integers(WORDS - 2, size=2 + row % 7).tolist() for row in range(PROMPTS)]


def our_trainer(reference, tokenizer, texts, changed):
    def score(_, responses):
        return Scores(torch.tensor([[float(len(text))] for text in responses]))

    responses = [str(10**power) for power in range(8)]
    normaliser = Normaliser.fit(score, {text: responses for text in texts})  # noqa: C420
    settings = Settings(
        batch=BATCH, epochs=EPOCHS, minibatches=1, learning_rate=RATE, lam=0.95, clip_norm=None,
        **changed,
    )  # fmt: skip
    return Trainer(
        make_actor(reference, settings, temperature=TEMPERATURE, seed=0), reference, tokenizer,
        normaliser, None, texts, vanilla(BETA), settings,
        sampling=Sampling(TOKENS, temperature=TEMPERATURE), limit=64, seed=0,
    )  # fmt: skip


def taking_turns(ours, seconds):
    """After each step of TRL, one of each of ours; CPU seconds of all."""
    from transformers import TrainerCallback

    class Turns(TrainerCallback):
        def on_train_begin(self, *_, **__):
            self.started = time.process_time()

        def on_step_end(self, *_, **__):
            seconds["trl"].append(time.process_time() - self.started)
            for name, run in ours.items():
                self.started = time.process_time()
                next(run)
                seconds[name].append(time.process_time() - self.started)
            self.started = time.process_time()

    return Turns()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not has_trl(), reason="needs TRL 1.12, the last with PPO")
@pytest.mark.parametrize("their_precision", ["no", "bf16"])
@pytest.mark.parametrize("size", SIZES)
def test_a_step_against_trl(benchmark, size, their_precision, tmp_path, monkeypatch):
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", their_precision)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape, turns, tokenizer, prompts = (
        SIZES[size],
        TURNS[size],
        make_tokenizer(WORDS),
        make_prompts(),
    )
    model = GPT2LMHeadModel(config(WORDS, **shape))
    texts = [tokenizer.decode(prompt) for prompt in prompts]
    reference = fuse_activations(deepcopy(model)).eval().requires_grad_(False)
    runs = {
        name: our_trainer(reference, tokenizer, texts, OURS[name]).run(turns + 1)
        for name in COMPARED[size]
    }
    seconds = {name: [] for name in ("trl", *runs)}
    trainer = their_trainer(
        model, deepcopy(model), GPT2ForSequenceClassification(config(WORDS, **shape, num_labels=1)),
        tokenizer, prompts, tmp_path, taking_turns(runs, seconds), batch=BATCH, tokens=TOKENS,
        total_episodes=BATCH * (turns + 1), num_ppo_epochs=EPOCHS, num_mini_batches=1,
        learning_rate=RATE, kl_coef=BETA, temperature=TEMPERATURE, stop_token=None,
    )  # fmt: skip
    benchmark.pedantic(trainer.train, rounds=1)
    medians = {name: float(np.median(times[1:])) for name, times in seconds.items()}
    ratios = {name: medians["trl"] / medians[name] for name in runs}
    benchmark.extra_info.update(seconds=medians, times_faster=ratios)
    assert min(ratios.values()) > 1, ratios
