"""What TRL's PPOTrainer does to a tiny GPT-2, as the reference of `tests/llm_bridge`.

`TRL_EXPERIMENTAL_SILENCE=1 OMP_NUM_THREADS=1 python -m benchmarks.record_trl [OUT.safetensors]`,
in an environment with TRL 1.12 and this project. Everything else in this module needs no TRL.

In float64, but for `logprobs`: `generate` of transformers rounds logits to float32. One file, of
`initial`, the parameters of policy and critic in a row, and for every case of `CASES`:
`CASE/final`, the parameters after training, and `CASE/ROLLOUT/NAME` with, for each rollout,

    queries, responses                           tokens, padded on the left and on the right
    logprobs, ref_logprobs, values               of tokens; TRL's fillings beyond the end
    scores                                       of responses, before the penalty of no end
    advantages, returns                          of tokens, after whitening
    orders                                       of responses, (epochs, batch)
    policy_losses, value_losses                  (epochs, minibatches)
"""

import sys
import tempfile
from contextlib import contextmanager
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.utils import parameters_to_vector
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from benchmarks.trl_peer import config, make_tokenizer, their_trainer
from theory.files import write

OUT = Path(__file__).parents[1] / "tests/llm_bridge/data/trl_ppo.safetensors"
WORDS, BATCH, TOKENS, ROLLOUTS = 64, 16, 10, 2
EOS, PAD = WORDS - 2, WORDS - 1
RATE, BETA, TEMPERATURE, PENALTY = 3e-3, 0.2, 0.7, 1.0
CASES = {
    "k1": {"kl_estimator": "k1", "whiten_rewards": False, "epochs": 4, "minibatches": 1},
    "k1_whitened": {"kl_estimator": "k1", "whiten_rewards": True, "epochs": 2, "minibatches": 2},
    "k3": {"kl_estimator": "k3", "whiten_rewards": False, "epochs": 2, "minibatches": 2},
    "k3_whitened": {"kl_estimator": "k3", "whiten_rewards": True, "epochs": 4, "minibatches": 1},
}
FLOATS = ("logprobs", "ref_logprobs", "values", "advantages", "returns")
PACKAGES = ("accelerate", "numpy", "torch", "transformers", "trl")


def make_models(seed=0, dtype=torch.float64):
    """A policy that ends now and then and never pads, and a critic; drawn in float64."""
    shape = {"layers": 2, "width": 16, "heads": 2, "n_positions": 16, "initializer_range": 0.05}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = AutoModelForCausalLM.from_config(config(WORDS, **shape), dtype=torch.float64)
        critic = AutoModelForSequenceClassification.from_config(
            config(WORDS, **shape, num_labels=1), dtype=torch.float64
        )
    with torch.no_grad():
        words = policy.transformer.wte.weight
        words[PAD] = -3 * words[EOS]
        policy.transformer.ln_f.bias.copy_(2 * words[EOS] / words[EOS].square().sum())
    return policy.to(dtype), critic.to(dtype)


def make_prompts():
    """Of 2 to 5 tokens."""
    rng = np.random.default_rng(0)
    return [rng.integers(EOS, size=2 + row % 4).tolist() for row in range(2 * BATCH)]


def record(folder):
    """Tensors of all cases, by name; what TRL makes itself is in the default precision."""
    found = {}
    for name, case in CASES.items():
        policy, critic = make_models()
        found["initial"] = _vector(policy, critic)
        steps = _trained(policy, critic, case, folder)
        found |= {f"{name}/{row}/{key}": x for row, step in enumerate(steps)
                  for key, x in step.items()}  # fmt: skip
        found[f"{name}/final"] = _vector(policy, critic)
    return {key: x.detach().clone().contiguous() for key, x in found.items()}


def _trained(policy, critic, case, folder):
    from transformers import TrainerCallback

    steps = []
    with _recorded_orders() as orders:

        class Watch(TrainerCallback):
            def on_step_end(self, *_, **__):
                steps.append({**_seen(_locals_of("train")), "orders": torch.stack(orders)})
                orders.clear()

        their_trainer(
            policy, deepcopy(policy), critic, make_tokenizer(WORDS), make_prompts(), folder,
            Watch(), batch=BATCH, tokens=TOKENS, total_episodes=BATCH * ROLLOUTS,
            num_ppo_epochs=case["epochs"], num_mini_batches=case["minibatches"],
            learning_rate=RATE, kl_coef=BETA, temperature=TEMPERATURE, stop_token="eos",
            missing_eos_penalty=PENALTY, kl_estimator=case["kl_estimator"],
            whiten_rewards=case["whiten_rewards"],
        ).train()  # fmt: skip
    return steps


def _seen(at):
    """What is kept of the variables of TRL's training loop at the end of a step."""
    return {
        "queries": at["queries"].byte(),
        "responses": at["postprocessed_responses"].byte(),
        "scores": at["scores"] + PENALTY * ~at["contain_eos_token"],
        "policy_losses": at["pg_loss_stats"][..., 0].clone(),
        "value_losses": at["vf_loss_stats"][..., 0].clone(),
        **{name: at[name] for name in FLOATS},
    }


def _locals_of(function):
    """Variables of the innermost caller of that name that has rollouts."""
    frame = sys._getframe()
    while frame.f_code.co_name != function or "pg_loss_stats" not in frame.f_locals:
        frame = frame.f_back
    return dict(frame.f_locals)


@contextmanager
def _recorded_orders():
    """TRL takes its orders from NumPy's global state; here from a generator, and a list of them."""
    orders, rng, original = [], np.random.default_rng(0), np.random.permutation

    def permutation(count):
        order = rng.permutation(count)
        orders.append(torch.from_numpy(order).byte())
        return order

    np.random.permutation = permutation
    try:
        yield orders
    finally:
        np.random.permutation = original


def _vector(policy, critic):
    return parameters_to_vector([*policy.parameters(), *critic.parameters()])


if __name__ == "__main__":
    torch.set_num_threads(1)
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    path.parent.mkdir(parents=True, exist_ok=True)
    versions = {package: version(package) for package in PACKAGES}
    torch.set_default_dtype(torch.float64)
    with tempfile.TemporaryDirectory() as folder:
        tensors = record(folder)
    write(path, lambda temporary: save_file(tensors, temporary, metadata=versions))
    print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes")
