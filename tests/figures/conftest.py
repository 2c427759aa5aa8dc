"""Figures small enough for tests: the code that `make figures` runs, with fewer draws."""

import pytest
import torch

from figures.adaptive2024 import runs as adaptive_runs
from figures.banerjee2024 import (
    head_accuracy,
    head_losses,
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
    matched_step,
    optimiser_gap,
    shrinkage,
    simplex_counterexample,
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
from figures.zhang2024 import cost
from figures.zhang2024 import runs as zhang_runs

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
}


@pytest.fixture
def small(monkeypatch):
    """Few draws at scale 'toy'."""
    for (module, name), setting in SMALL.items():
        monkeypatch.setattr(module, name, setting)
