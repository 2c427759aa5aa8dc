"""Figures small enough for tests: the code that `make figures` runs, with fewer draws."""

import pytest

from figures.banerjee2024 import return_readings
from figures.beyond import (
    data_holes,
    frontier,
    harm_bound,
    matched_step,
    optimiser_gap,
    shrinkage,
    simplex_counterexample,
)
from figures.rewardrobust2024 import heat_maps, matched_kl, trade_off

SMALL = {
    (return_readings, "DRAWS"): {"toy": 4000},
    (return_readings, "SIMPLEX_DRAWS"): {"toy": (2, 20)},
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
}


@pytest.fixture
def small(monkeypatch):
    """Few draws at scale 'toy'."""
    for (module, name), setting in SMALL.items():
        monkeypatch.setattr(module, name, setting)
