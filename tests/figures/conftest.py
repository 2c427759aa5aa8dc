"""Figures small enough for tests: the code that `make figures` runs, with fewer draws."""

import pytest

from figures.banerjee2024 import return_readings
from figures.beyond import harm_bound, matched_step, shrinkage, simplex_counterexample
from figures.rewardrobust2024 import heat_maps, matched_kl, trade_off

SMALL = {
    (return_readings, "DRAWS"): {"toy": 4000},
    (return_readings, "SIMPLEX_DRAWS"): {"toy": (2, 20)},
    (harm_bound, "DRAWS"): {"toy": (3, 100)},
    (simplex_counterexample, "GRID"): {"toy": (4, 5, 200)},
    (matched_step, "DRAWS"): {"toy": (2, 500)},
    (matched_step, "CURVE_POINTS"): 2,
    (shrinkage, "REPEATS"): {"toy": 3},
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
