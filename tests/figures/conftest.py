"""Figures small enough for tests: the code that `make figures` runs, with fewer draws."""

import pytest
import torch

from figures import language_models
from figures.adaptive2024 import runs as adaptive_runs
from figures.banerjee2024 import (
    head_accuracy,
    head_losses,
    language_population,
    member_scores,
    member_variances,
    policies,
    policy_runs,
    return_readings,
)
from figures.beyond import (
    data_holes,
    frontier,
    harm_bound,
    language_curves,
    matched_step,
    optimiser_gap,
    shrinkage,
    simplex_counterexample,
    unification,
    unification_runs,
)
from figures.rewardrobust2024 import (
    brme_models,
    fusion,
    head_scores,
    heat_maps,
    matched_kl,
    noise_runs,
    random_rewards,
    reward_noise,
    scoring_direction,
    scoring_runs,
    trade_off,
)
from figures.ugda2025 import runs as ugda_runs
from figures.ugda2025 import text_ablation, text_tables
from figures.zhang2024 import cost
from figures.zhang2024 import runs as zhang_runs
from llm_bridge.commands.population import PopulationStudy
from llm_bridge.data.pairs import Labelling
from llm_bridge.lm.lora import Lora
from llm_bridge.lm.sampling import Sampling
from llm_bridge.lm.sft import FineTuning
from llm_bridge.rewards.ensembles import EnsembleSettings
from llm_bridge.rewards.models import RewardTraining
from llm_bridge.settings import Settings
from llm_bridge.sources import Embedded
from llm_bridge.text_world import TextWorld
from tests.figures.records import records

torch.set_num_threads(1)

SMALL = {
    (return_readings, "DRAWS"): {"toy": 4000},
    (return_readings, "SIMPLEX_DRAWS"): {"toy": (2, 20)},
    (member_scores, "SEEDS"): {"toy": 2},
    (member_variances, "SEEDS"): {"toy": 2},
    (head_losses, "SEEDS"): {"toy": 2},
    (head_accuracy, "SEEDS"): {"toy": 2},
    (policies, "SETS"): {4: 2, 10: 2},
    (policies, "EXACT_SETS"): 6,
    (policy_runs, "STEPS"): 4,
    (policy_runs, "EVERY"): 2,
    (adaptive_runs, "SEEDS"): {"toy": 3},
    (adaptive_runs, "STEPS"): 6,
    (ugda_runs, "SEEDS"): {"toy": 2},
    (ugda_runs, "WORLDS"): 1,
    (ugda_runs, "STEPS"): 4,
    (ugda_runs, "REFINING"): 2,
    (zhang_runs, "SEEDS"): {"toy": 10},
    (zhang_runs, "STEPS"): 10,
    (zhang_runs, "COUNTS"): (2, 16),
    (cost, "SEEDS"): {"toy": 2},
    (harm_bound, "DRAWS"): {"toy": (3, 100)},
    (simplex_counterexample, "GRID"): {"toy": (4, 5, 200)},
    (matched_step, "DRAWS"): {"toy": (2, 500)},
    (matched_step, "CURVE_POINTS"): 2,
    (shrinkage, "REPEATS"): {"toy": 3},
    (data_holes, "SEEDS"): {"toy": 6},
    (data_holes, "MEMBERS"): (1, 4),
    (frontier, "SEEDS"): {"toy": 3},
    (frontier, "DISTANCES"): (0.3, 1.4),
    (frontier, "STEPS"): 3,
    (optimiser_gap, "SEEDS"): {"toy": 3},
    (optimiser_gap, "STEPS"): 2,
    (heat_maps, "SEEDS"): {"toy": 4},
    (heat_maps, "STEPS"): 4,
    (matched_kl, "SEEDS"): {"toy": 3},
    (trade_off, "SEEDS"): {"toy": 3},
    (trade_off, "STEPS"): {"short": 2, "long": 3},
    (scoring_runs, "SEEDS"): {"toy": 3},
    (scoring_runs, "STEPS"): 20,
    (scoring_direction, "STEPS"): 20,
    (noise_runs, "STEPS"): 10,
    (random_rewards, "STEPS"): 10,
    (random_rewards, "SEEDS"): {"toy": 3},
    (reward_noise, "STEPS"): 10,
    (reward_noise, "SEEDS"): {"toy": 3},
    (head_scores, "SEEDS"): {"toy": 3},
    (brme_models, "SEEDS"): {"toy": 5},
    (fusion, "SEEDS"): {"toy": 6},
    (unification, "TABLES"): 2,
    (unification_runs, "STEPS"): {"table": 4, "language model": 2},
    (unification_runs, "SAMPLES"): {"table": 16, "language model": 8},
    (unification_runs, "BATCH"): 16,
    (language_curves, "OBJECTIVES"): ("vanilla", "lcb"),
    (language_curves, "STEPS"): 2,
    (language_curves, "EVERY"): 1,
    (language_curves, "BATCH"): 8,
    (text_tables, "rows"): records,
    (text_ablation, "rows"): records,
    (language_population, "CHANGES"): {
        **language_population.CHANGES,
        "ensemble": EnsembleSettings(members=2), "trials": 2, "judged": 16, "steps": 2,
        "evaluate_every": 1, "ppo": Settings(batch=8, lora=Lora(2)), "adapter_rank": None,
        "beta": (0.1, 1.0, 0.1),
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def language(tmp_path_factory):
    """An embedded language model and reward models that are barely trained, when asked for."""
    return TextWorld(
        Embedded(sft=FineTuning(steps=20)), labelling=Labelling(20), sampling=Sampling(6),
        ensemble=EnsembleSettings(members=2, training=RewardTraining(epochs=1)), references=8,
        normalise="standardised", cache=tmp_path_factory.mktemp("language"),
    )  # fmt: skip


@pytest.fixture
def small(monkeypatch, language):
    """Few draws at scale 'toy', and small language models."""
    monkeypatch.setenv("RLHF_RISK_CACHE", str(language.cache))
    monkeypatch.setattr(language_models, "text_world", lambda: language)
    monkeypatch.setattr(PopulationStudy, "prepared", lambda _: language)
    for (module, name), setting in SMALL.items():
        monkeypatch.setattr(module, name, setting)
