"""Uncertainty-aware RLHF in closed form: objectives, exact solvers, risk laws and audited claims.

The central path is `Scores` -> `Objective` -> `solve`:

>>> import numpy as np
>>> import theory
>>> scores = theory.Scores(np.array([[2.0, 6.0], [1.9, 2.1], [1.0, 1.2]]))
>>> reference = np.log(np.full(3, 1 / 3))
>>> naive = theory.solve(theory.presets.ensemble_mean(1.0), reference, scores)
>>> aware = theory.solve(theory.presets.variance_aware(1.0), reference, scores)
>>> naive.policy.round(2), aware.policy.round(2)
(array([0.84, 0.11, 0.05]), array([0.43, 0.57, 0.  ]))
"""

from theory import presets
from theory.binding import Binding
from theory.comparison import compare
from theory.errors import InputError, SolveError, UnboundError
from theory.objective import Bound, Objective, sample_reward, value
from theory.optimum import bind, solve
from theory.penalties import Budget, Penalty, TargetKL
from theory.score_table import read_scores
from theory.scores import Scores
from theory.solution import Solution

__all__ = [
    "Binding",
    "Bound",
    "Budget",
    "InputError",
    "Objective",
    "Penalty",
    "Scores",
    "Solution",
    "SolveError",
    "TargetKL",
    "UnboundError",
    "bind",
    "compare",
    "presets",
    "read_scores",
    "sample_reward",
    "solve",
    "value",
]
