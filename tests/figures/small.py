"""Figures small enough for tests: the code that `make figures` runs, with fewer draws.

`SMALL` are the settings of modules that make them so.
"""

import io

import pandas as pd
import pytest

from figures import language_models
from figures.adaptive2024 import experts
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
from figures.catalogue import FIGURES
from figures.figure import Setting
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
    (experts, "SHOWN"): slice(360, 782, 20),
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
    (language_curves, "SEEDS"): {"toy": 2, "tiny": 2, "full": 3},
    (unification, "SEEDS"): {"toy": 1, "tiny": 1, "full": 3},
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


def language(cache):
    """An embedded language model and reward models that are barely trained, when asked for."""
    return TextWorld(
        Embedded(sft=FineTuning(steps=20)), labelling=Labelling(20), sampling=Sampling(6),
        ensemble=EnsembleSettings(members=2, training=RewardTraining(epochs=1)), references=8,
        normalise="standardised", cache=cache,
    )  # fmt: skip


def shrink(patch, world):
    """Few draws at scale 'toy', and small language models, for as long as the patch lasts."""
    patch.setenv("RLHF_RISK_CACHE", str(world.cache))
    patch.setattr(language_models, "text_world", lambda: world)
    patch.setattr(PopulationStudy, "prepared", lambda _: world)
    for (module, name), setting in SMALL.items():
        patch.setattr(module, name, setting)


def stored(table):
    """As it is read back from disk."""
    return pd.read_csv(io.StringIO(table.to_csv(index=False)))


class Tables(dict):
    """Small tables by figure, computed at seed 0 when they are first asked for."""

    def __init__(self, world):
        self.world = world

    def __missing__(self, key):
        with pytest.MonkeyPatch.context() as patch:
            shrink(patch, self.world)
            self[key] = stored(FIGURES[key].compute(Setting()))
        return self[key]
