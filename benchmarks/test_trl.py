"""A PPO step of `llm_bridge` against one of TRL's PPOTrainer, in turns within one process.

TRL 1.12 is the last with PPO. In an environment that has it next to this project, with its
versions of torch and transformers: `TRL_EXPERIMENTAL_SILENCE=1 OMP_NUM_THREADS=1 pytest
benchmarks/test_trl.py --benchmark-enable`. Model, prompts, batch, epochs, and lengths are the same.
"""

import time
from copy import deepcopy
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

from llm_bridge.actors import make_actor
from llm_bridge.lm.checkpoints import fuse_activations
from llm_bridge.lm.sampling import Sampling
from llm_bridge.ppo import Trainer
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.settings import Settings
from theory.presets import vanilla
from theory.scores import Scores

WORDS, EOS, PAD = 50258, 50256, 50257
BATCH, EPOCHS, TOKENS, PROMPTS, TURNS = 32, 4, 10, 256, 5
RATE, BETA, TEMPERATURE = 3e-6, 0.05, 0.7
OURS = {
    "separate_critic": {"critic": "separate"},
    "shared_critic": {},
    "separate_critic_bfloat16": {"critic": "separate", "precision": "bfloat16"},
    "shared_critic_bfloat16": {"precision": "bfloat16"},
}


def has_trl():
    try:
        return version("trl").startswith("1.12.")
    except PackageNotFoundError:
        return False


def config(**more):
    return GPT2Config(
        vocab_size=WORDS, n_positions=64, n_embd=256, n_layer=4, n_head=4, bos_token_id=EOS,
        eos_token_id=EOS, pad_token_id=PAD, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **more,
    )  # fmt: skip


def make_tokenizer():
    """Words "0", "1", ... are their own tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    found = Tokenizer(models.WordLevel({str(i): i for i in range(WORDS)}, unk_token="0"))
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=found, eos_token=str(EOS), pad_token=str(PAD), padding_side="left"
    )


def make_prompts():
    """Of 2 to 8 tokens, as beginnings of IMDB reviews."""
    rng = np.random.default_rng(0)
    return [rng.integers(EOS, size=2 + row % 7).tolist() for row in range(PROMPTS)]


def our_trainer(model, tokenizer, texts, changed):
    def score(_, responses):
        return Scores(torch.tensor([[float(len(text))] for text in responses]))

    responses = [str(10**power) for power in range(8)]
    normaliser = Normaliser.fit(score, {text: responses for text in texts})  # noqa: C420
    settings = Settings(
        batch=BATCH, epochs=EPOCHS, minibatches=1, learning_rate=RATE, lam=0.95, clip_norm=None,
        **changed,
    )  # fmt: skip
    reference = fuse_activations(deepcopy(model)).eval().requires_grad_(False)
    return Trainer(
        make_actor(reference, settings, temperature=TEMPERATURE, seed=0), reference, tokenizer,
        normaliser, None, texts, vanilla(BETA), settings,
        sampling=Sampling(TOKENS, temperature=TEMPERATURE), limit=64, seed=0,
    )  # fmt: skip


class Lengths(torch.nn.Module):
    """A reward in the form that TRL takes: the "last hidden state" is it already."""

    base_model_prefix = "backbone"

    def __init__(self):
        super().__init__()
        self.backbone, self.score = _Backbone(), torch.nn.Identity()


class _Backbone(torch.nn.Module):
    def forward(self, input_ids, attention_mask, **_):
        from transformers.modeling_outputs import BaseModelOutput

        score = (input_ids.float().log1p() * attention_mask).mean(1)
        return BaseModelOutput(hidden_states=(score[:, None, None].expand(*input_ids.shape, 1),))


def their_trainer(model, tokenizer, prompts, folder, callback):
    from datasets import Dataset
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    args = PPOConfig(
        output_dir=str(folder), use_cpu=True, bf16=False, report_to="none", save_strategy="no",
        logging_strategy="no", num_sample_generations=0, disable_tqdm=True, stop_token=None,
        per_device_train_batch_size=BATCH, gradient_accumulation_steps=1, num_mini_batches=1,
        num_ppo_epochs=EPOCHS, local_rollout_forward_batch_size=BATCH, response_length=TOKENS,
        total_episodes=BATCH * (TURNS + 1), learning_rate=RATE, kl_coef=BETA,
        temperature=TEMPERATURE,
    )  # fmt: skip
    data = Dataset.from_dict({"input_ids": prompts})
    return PPOTrainer(
        args=args, processing_class=tokenizer, model=deepcopy(model), ref_model=deepcopy(model),
        reward_model=Lengths(), train_dataset=data, eval_dataset=data,
        value_model=GPT2ForSequenceClassification(config(num_labels=1)), callbacks=[callback],
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
def test_a_step_against_trl(benchmark, their_precision, tmp_path, monkeypatch):
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", their_precision)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, tokenizer, prompts = GPT2LMHeadModel(config()), make_tokenizer(), make_prompts()
    texts = [tokenizer.decode(prompt) for prompt in prompts]
    runs = {
        name: our_trainer(model, tokenizer, texts, changed).run(TURNS + 1)
        for name, changed in OURS.items()
    }
    seconds = {name: [] for name in ("trl", *runs)}
    trainer = their_trainer(model, tokenizer, prompts, tmp_path, taking_turns(runs, seconds))
    benchmark.pedantic(trainer.train, rounds=1)
    medians = {name: float(np.median(times[1:])) for name, times in seconds.items()}
    ratios = {name: medians["trl"] / medians[name] for name in runs}
    benchmark.extra_info.update(seconds=medians, times_faster=ratios)
    assert min(ratios.values()) > 1, ratios
