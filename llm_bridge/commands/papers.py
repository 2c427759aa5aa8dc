"""The papers' own hyperparameters as options, and what they leave open."""

from dataclasses import dataclass, field
from typing import Any

from llm_bridge.commands.options import Planning
from llm_bridge.data.pairs import Labelling
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.sampling import Sampling
from llm_bridge.lm.sft import FineTuning
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.settings import Settings

HH_RLHF = "Anthropic/hh-rlhf"
LLAMA_3 = "meta-llama/Meta-Llama-3-8B-Instruct"


@dataclass(frozen=True)
class Paper:
    """Options that a paper fixes, by name; notes: where it is silent, or contradicts itself.

    small: those that also hold for models of the embedded language, with --scale.

    Scores are centred and keep their scale, in which the papers' strengths are: none of them
    rescales its rewards, but for fused sources [rewardrobust2024, App. F]. Those of the embedded
    language are standardised, as its own strengths are.
    """

    notes: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    small: dict[str, Any] = field(default_factory=dict)


def _small(kind: str, members: int, *objective: str) -> dict[str, Any]:
    """Ensemble and objectives; hyperparameters are those of the embedded language."""
    training = RewardTraining(epochs=2)
    return {
        "ensemble": EnsembleSettings(kind, members, training=training), "objective": objective,
        "normalise": "standardised",
    }  # fmt: skip


BANERJEE = Paper(
    (
        "Preference pairs: about 50,000 in the text, 4125 steps of 32 = 132,000 in the table; "
        "here 132,000.",
        "The reward model stops at a loss of .3 in the text, .4 in the appendix; here .3.",
        "Vanilla PPO has learning rate 1.414e-5 there, variance-aware PPO 1.5e-5; here one for "
        "both.",
        "The penalty is charged on the last token with lambda 1, which is exact; the paper's own "
        "is --ppo.charge spread --ppo.lam 0.95.",
        "A policy there is trained on one of the ten heads; `vanilla` here takes the first.",
        "Whether one epoch means passes over the data or of PPO is not said; here 4 of PPO, the "
        "default of its library.",
    ),
    {
        "policy": "gpt2",
        "reward": ("google/gemma-2b-it",),
        "judge": "sfairXC/FsfairX-LLaMA3-RM-v0.1",
        "prompts": "stanfordnlp/imdb",
        "count": 20_000,
        "preferences": "weqweasdas/preference_dataset_mix2",
        "plan": Planning(5.0, 512.0),
        "labelling": Labelling(132_000),
        "ensemble": EnsembleSettings(
            "heads", 10, "same",
            RewardTraining(epochs=0.5, batch=32, learning_rate=1e-5, stop=0.2),
            first=RewardTraining(
                epochs=1, batch=32, learning_rate=1e-5, weight_decay=1e-3, schedule="cosine",
                stop=0.3,
            ),
        ),
        "sampling": Sampling(tokens=10),
        "references": 8,
        "normalise": "centred",
        "objective": ("vanilla", "variance_aware_ppo"),
        "beta": (0.2, 0.05),
        "steps": 192,
        "seeds": 4,
        "ppo": Settings(
            batch=128, epochs=4, minibatches=1, learning_rate=1.5e-5, clip_norm=None, lam=None,
            value_coefficient=0.1,
        ),
    },
    _small("heads", 10, "vanilla", "variance_aware_ppo"),
)  # fmt: skip
REWARD_ROBUST = Paper(
    (
        "Learning rates, response length, beta and the range alpha of the targets are not given; "
        "here 1e-6, 512, .05 and 2.",
        "The critic there starts as the first reward model; here as a copy of the policy's trunk.",
        "UltraFeedback (chosen score at least 2) is to be appended to the preference file.",
        "The squared loss drives the heads' standard deviations to zero; --ensemble.brme.loss nll "
        "is the Gaussian likelihood.",
    ),
    {
        "policy": LLAMA_3,
        "reward": (LLAMA_3,),
        "judge": None,
        "prompts": HH_RLHF,
        "count": 4096,
        "preferences": HH_RLHF,
        "plan": Planning(128.0, 256.0),
        "labelling": Labelling(160_000),
        "ensemble": EnsembleSettings(
            "brme", 5, "disjoint", RewardTraining(epochs=1, batch=128, learning_rate=1e-6)
        ),
        "sampling": Sampling(tokens=512),
        "references": 8,
        "normalise": "centred",
        "objective": ("brme", "ensemble_mean", "wco", "best_case"),
        "beta": (0.05,),
        "steps": 800,
        "seeds": 1,
        "ppo": Settings(
            batch=128, epochs=4, minibatches=4, accumulate=8, learning_rate=1e-6,
            critic="separate", precision="bfloat16",
        ),
    },
    _small("brme", 5, "brme", "ensemble_mean", "wco", "best_case"),
)  # fmt: skip
ADAPTIVE = Paper(
    (
        "The gold reward is a GPT-J 6B trained on labels of a language model, which is not "
        "published; name your own with --judge.",
        "Mini-batches of 6 do not divide 512 rollouts; here 128 of 4.",
        "lambda .005 is also run at .01 and .05; 50,000 steps are of the optimiser, about 98 "
        "iterations of 512.",
        "b = E[sigma^2] / lambda is fixed on responses of the reference.",
    ),
    {
        "policy": "gpt2",
        "reward": ("gpt2",),
        "judge": None,
        "prompts": "CarperAI/openai_summarize_tldr",
        "count": 20_000,
        "preferences": "CarperAI/openai_summarize_comparisons",
        "plan": Planning(350.0, 400.0),
        "labelling": Labelling(100_000),
        "ensemble": EnsembleSettings(
            "lora", 5, "same",
            RewardTraining(epochs=1, batch=64, learning_rate=3e-5, warm_up=20 / 1563),
            lora=Lora(8, 32, 0.1),
        ),
        "sampling": Sampling(tokens=48),
        "references": 8,
        "normalise": "centred",
        "objective": ("vanilla", "ensemble_mean", "wco", "adaptive"),
        "beta": (0.005,),
        "steps": 98,
        "seeds": 1,
        "ppo": Settings(
            batch=512, epochs=4, minibatches=128, learning_rate=5e-6, weight_decay=0.1,
            lora=Lora(8, 32, 0.1),
        ),
    },
    _small("lora", 5, "vanilla", "ensemble_mean", "wco", "adaptive"),
)  # fmt: skip
UGDA = Paper(
    (
        "The judge is Llama2-13B asked in words: evaluate --endpoint; it is no reward model.",
        "beta, the number of iterations and the rollout size are not given; here .05, 500 and 16.",
        "Learning rates fall along a cosine to a tenth there; here the reward models' to zero, "
        "the policy's are constant.",
        "Responses are sampled with top-p .9: ratios and KL are of the untruncated policy.",
    ),
    {
        "policy": "google/gemma-7b",
        "reward": ("google/gemma-2b",),
        "judge": None,
        "prompts": HH_RLHF,
        "count": 4096,
        "preferences": HH_RLHF,
        "plan": Planning(128.0, 256.0),
        "labelling": Labelling(160_000, noise=0.0),
        "ensemble": EnsembleSettings(
            "lora", 3, "same",
            RewardTraining(
                epochs=2, batch=32, accumulate=8, learning_rate=1e-6, schedule="cosine"
            ),
            lora=Lora(8, 64, targets=("q_proj", "v_proj")),
        ),
        "sampling": Sampling(tokens=512, top_p=0.9),
        "references": 8,
        "normalise": "centred",
        "objective": ("ensemble_mean", "lcb", "uwo"),
        "beta": (0.05,),
        "steps": 500,
        "seeds": 1,
        "ppo": Settings(
            batch=16, epochs=4, minibatches=1, accumulate=8, learning_rate=1e-6, lam=0.95,
            lora=Lora(8, 64, targets=("q_proj", "v_proj")), precision="bfloat16",
        ),
    },
    {**_small("lora", 3, "ensemble_mean", "lcb", "uwo"), "adapter_rank": 8},
)  # fmt: skip
ZHANG = Paper(
    (
        "Policy and trunk are AlpacaFarm's SFT10k model, whose weights are differences to "
        "Llama-7B: recover them first, and name the folder with --policy and --reward.",
        "Best-of-n samples at temperature 1, PPO at .7; here .7: add --sampling.temperature 1 to "
        "best-of-n.",
        "Responses are sampled with top-p .9: ratios and KL are of the untruncated policy.",
        "First stage on alpaca_noisy_multi_preference, second on alpaca_human_preference there; "
        "here both on parts of one file.",
        "--ensemble.kind independent and shared_trunk are its other two.",
    ),
    {
        "policy": "huggyllama/llama-7b",
        "reward": ("huggyllama/llama-7b",),
        "judge": None,
        "prompts": "tatsu-lab/alpaca_farm",
        "count": 4096,
        "preferences": "tatsu-lab/alpaca_farm",
        "plan": Planning(128.0, 300.0),
        "labelling": Labelling(20_000),
        "ensemble": EnsembleSettings(
            "lora", 3, "same",
            RewardTraining(
                epochs=1, batch=32, accumulate=2, learning_rate=5e-5, weight_decay=0.0,
                warm_up=0.03,
            ),
            first=RewardTraining(
                epochs=1, batch=32, accumulate=2, learning_rate=3e-6, weight_decay=0.0,
                schedule="cosine", warm_up=0.03,
            ),
            first_share=0.5,
            lora=Lora(8, 16, targets=("q_proj", "v_proj")),
        ),
        "sampling": Sampling(tokens=300, temperature=0.7, top_p=0.9),
        "references": 8,
        "normalise": "centred",
        "objective": ("ensemble_mean", "lcb"),
        "beta": (0.02,),
        "steps": 400,
        "seeds": 5,
        "ppo": Settings(
            batch=64, epochs=2, minibatches=2, accumulate=8, learning_rate=1e-5,
            value_coefficient=0.1, precision="bfloat16",
        ),
    },
    _small("lora", 3, "ensemble_mean", "lcb"),
)  # fmt: skip
CHECKPOINT: dict[str, Any] = {
    "ensemble": EnsembleSettings(training=RewardTraining(epochs=1, learning_rate=1e-5)),
    "references": 16,
    "ppo": Settings(learning_rate=1.5e-5),
    "sft": FineTuning(learning_rate=5e-5),
}
"""Defaults for pretrained models: the others are for models that are trained from nothing."""
PAPERS = {
    "banerjee2024": BANERJEE,
    "rewardrobust2024": REWARD_ROBUST,
    "adaptive2024": ADAPTIVE,
    "ugda2025": UGDA,
    "zhang2024": ZHANG,
}
