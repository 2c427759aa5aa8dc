"""Weights of members under a policy-level worst case: where they settle."""

import numpy as np
import pytest
import torch

from llm_bridge.member_weights import MemberDual, MemberWeights
from theory.errors import InputError
from theory.mixes import PolicyWorstMix
from theory.objective import Objective
from theory.optimum import solve
from theory.penalties import Penalty
from theory.scores import Scores

SETTLED = 0.01
"""Distance of weights from the optimum's, after averaging the last rounds."""
REFERENCE = torch.full((3,), np.log(1 / 3), dtype=torch.float64)


def played(utility, members, beta, settings, rounds=4000):
    """Mean weights of the later half, the policy answering each with its best reply."""
    weights = MemberWeights(utility, torch.full((members.shape[-1],), 0.25), settings)
    met = []
    for _ in range(rounds):
        mixed = utility.lam * members[:, 0] + (1 - utility.lam) * members @ weights.weights
        policy = (REFERENCE + mixed / beta).softmax(0)
        weights.observe(Scores((policy[:, None] * members).sum(0)[None]))
        met.append(weights.weights)
    return torch.stack(met[rounds // 2 :]).mean(0)


@pytest.mark.parametrize("temperature", [0.0, 0.3])
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_the_dual_settles_at_the_weights_of_the_optimum(temperature, seed):
    members = torch.randn(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    utility = PolicyWorstMix(lam=0.2, over="all", temperature=temperature)
    solution = solve(Objective(utility, strength=Penalty(0.5)), REFERENCE, Scores(members))
    found = played(utility, members, 0.5, MemberDual(rate=0.02, memory=0.0))
    expected = torch.as_tensor(solution.member_weights).reshape(-1)
    assert float((found - expected).abs().max()) < SETTLED


def test_the_smallest_mean_of_each_batch_by_name():
    weights = MemberWeights(PolicyWorstMix(over="all"), [0.5, 0.5], MemberDual("batch_argmin"))
    weights.observe(Scores(torch.tensor([[1.0, 0.0], [0.5, 1.0]])))
    assert weights.weights.tolist() == [0.0, 1.0]


def test_no_member_is_without_weight_at_the_start():
    weights = MemberWeights(PolicyWorstMix(over="all"), [1.0, 0.0], MemberDual()).weights
    assert 0 < float(weights[1]) < 0.02


@pytest.mark.parametrize("wrong", [{"kind": "argmin"}, {"rate": 0.0}, {"memory": 1.0}])
def test_bad_input(wrong):
    with pytest.raises(InputError):
        MemberDual(**wrong)
