"""Stored weights, samples and 20 steps of PPO in float64, as the reference of `tests/llm_bridge`.

`OMP_NUM_THREADS=1 python -m benchmarks.record_exact [weights|rows]` writes into
`tests/llm_bridge/data`:

    exact.safetensors   float16 weights of a language model of the embedded language and of three
                        reward heads on one trunk, and samples of the former; by `weights`
    exact.json          rows of trainings that start there, in float64; by `rows`

`weights` trains anew: other processors get other weights, since rounding grows along such a chain,
and `rows` is to follow. `rows` alone gives the same to 1e-10 anywhere, or something has changed.
float16 numbers are exact in float64, and as good as any others to start from.
"""

import json
import sys
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from llm_bridge.actors import make_actor
from llm_bridge.data.pairs import Labelling
from llm_bridge.embedded.language import TOPICS, Gold, prompt
from llm_bridge.embedded.tiny import CONTEXT, build_model, build_tokenizer
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.sampling import Sampling, draw
from llm_bridge.ppo import Trainer
from llm_bridge.rewards.ensembles import Ensemble, EnsembleSettings
from llm_bridge.rewards.models import RewardModel, RewardTraining
from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.settings import Settings
from llm_bridge.text_world import TextWorld
from theory.best_of_n import unbiased_curve
from theory.files import write, write_text
from theory.penalties import TargetKL
from theory.presets import ensemble_mean, lcb, vanilla
from theory.scores import Scores

DATA = Path(__file__).parents[1] / "tests/llm_bridge/data"
WEIGHTS, ROWS = DATA / "exact.safetensors", DATA / "exact.json"
MEMBERS, SAMPLES, REFERENCES, STEPS, BATCH = 3, 512, 16, 20, 32
PROMPTS = [prompt(topic) for topic in TOPICS]
SAMPLING = Sampling()
CASES = {
    "all weights": (vanilla(0.003), Settings(batch=BATCH, minibatches=1)),
    "adapters, a critic": (
        lcb(TargetKL(2.0)),
        Settings(batch=BATCH, lora=Lora(4), critic="separate", learning_rate=1e-3, exact_kl=True),
    ),
    "eps": (ensemble_mean(0.02), Settings(batch=BATCH, eps=1e-5, accumulate=2)),
}
KEPT = ("kl", "gold", "proxy", "entropy", "length", "value_loss", "grad_norm")
PACKAGES = ("numpy", "torch", "transformers")


def language_model(stored, dtype=torch.float64):
    """The stored model, frozen, and its tokenizer."""
    tokenizer = build_tokenizer()
    model = build_model("tiny", tokenizer, dtype)
    vector_to_parameters(stored["policy"].to(dtype), model.parameters())
    return model.eval().requires_grad_(False), tokenizer


def ensemble(stored, dtype=torch.float64):
    """The stored reward models."""
    model, tokenizer = language_model(stored, dtype)
    made = RewardModel(model.base_model, tokenizer, heads=MEMBERS, limit=CONTEXT)
    vector_to_parameters(stored["reward"].to(dtype), made.parameters())
    return Ensemble((made,), EnsembleSettings("shared_trunk", MEMBERS))


def samples(stored):
    """Prompts and responses of the stored model, `SAMPLES` a prompt."""
    tokenizer = build_tokenizer()
    texts = tokenizer.batch_decode(stored["samples"].long(), skip_special_tokens=True)
    return [prompt for prompt in PROMPTS for _ in range(SAMPLES)], [f" {text}" for text in texts]


def centred(score, stored):
    """Scores less the mean of those of the first `REFERENCES` samples of a prompt."""
    shape = (len(PROMPTS), SAMPLES, MEMBERS)
    raw = score(*samples(stored)).members.view(shape)[:, :REFERENCES]
    offset, index = raw.mean(1), {prompt: row for row, prompt in enumerate(PROMPTS)}
    scale = torch.ones_like(offset[0])
    return Normaliser(score, index, offset, scale, Scores(raw - offset[:, None]))


def trainer(stored, name, *, dtype=torch.float64, device="cpu", **changed):
    """PPO in one of `CASES`, from the stored weights."""
    objective, settings = CASES[name]
    settings = Settings(**{**vars(settings), **changed})
    model, tokenizer = language_model(stored, dtype)
    model, score = model.to(device), ensemble(stored, dtype)
    score.models[0].to(device)
    return Trainer(
        make_actor(model, settings, temperature=1.0, seed=1),
        model if settings.lora is None else None, tokenizer, centred(score, stored),
        Gold().all, PROMPTS, objective, settings, sampling=SAMPLING, limit=CONTEXT, seed=2,
    )  # fmt: skip


def rows(stored, name, *, steps=STEPS, **changed):
    """What is recorded of each step, and a digest of its responses."""
    found = []
    for _, row, rolled in trainer(stored, name, **changed).run(steps):
        told = sha256("\n".join(rolled.responses).encode()).hexdigest()[:16]
        found.append({**{key: row[key] for key in KEPT}, "responses": told})
    return found


def best_of_n(stored):
    """True reward and score, (members, 2, sizes), of the best of 1, 2, 4 ... stored samples."""
    texts, shape = samples(stored), (len(PROMPTS), SAMPLES)
    gold = Gold().all(*texts).reshape(shape)
    scores = ensemble(stored)(*texts).members.view(*shape, MEMBERS).numpy()
    sizes = 2 ** np.arange(SAMPLES.bit_length()) - 1
    return [
        [unbiased_curve(score, judged).mean(0)[sizes].tolist() for judged in (gold, score)]
        for score in np.moveaxis(scores, -1, 0)
    ]


def everything():
    """Rows of all cases, and the best of stored samples, from the stored weights."""
    stored = load_file(WEIGHTS)
    trained = {name: rows(stored, name) for name in CASES}
    return {"rows": trained, "best of n": best_of_n(stored)}


def train():
    """A language model, reward models of few comparisons, and samples; float16 but for tokens."""
    settings = EnsembleSettings("shared_trunk", MEMBERS, training=RewardTraining(epochs=2))
    world = TextWorld(labelling=Labelling(300), ensemble=settings)
    model, tokenizer = world.policy()
    (made,) = world.ensembles(0)[0].models
    stored = {
        "policy": parameters_to_vector(model.parameters()).half(),
        "reward": parameters_to_vector(made.parameters()).half(),
    }
    model, _ = language_model(stored)
    generator = torch.Generator().manual_seed(0)
    prompts = [prompt for prompt in PROMPTS for _ in range(SAMPLES)]
    batch = draw(
        model, tokenizer, prompts, SAMPLING, limit=CONTEXT,
        uniforms=SAMPLING.uniforms(len(prompts), generator),
    )  # fmt: skip
    return {**stored, "samples": batch.responses.byte()}


def main(what):
    torch.set_num_threads(1)
    about = {package: version(package) for package in PACKAGES}
    about["processor"] = torch.backends.cpu.get_cpu_capability()
    if what in ("weights", "all"):
        tensors = {name: x.contiguous() for name, x in train().items()}
        write(WEIGHTS, lambda temporary: save_file(tensors, temporary, metadata=about))
    if what in ("rows", "all"):
        write_text(ROWS, json.dumps({"made with": about, **everything()}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "all")
