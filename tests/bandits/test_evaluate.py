"""What is recorded, against a population small enough to check by hand."""

import math

import pytest
import torch

from bandits.evaluate import evaluate
from tests.tolerance import FLOAT32
from theory.binding import UNBOUND
from theory.objective import Bound
from theory.presets import ensemble_mean
from theory.scores import Scores

GOLD = torch.tensor([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]])
POLICY = torch.tensor([
    [[0.95, 0.05, 0.0], [0.04, 0.92, 0.04]],
    [[0.2, 0.6, 0.2], [0.3, 0.4, 0.3]],
])  # fmt: skip
UNIFORM = torch.full((2, 2, 3), -math.log(3))


def described(policy, members):
    return evaluate(
        policy.log(), bound=Bound(ensemble_mean(), UNBOUND), step=7, seeds=[5, 9], gold=GOLD,
        scores=Scores(members), log_reference=UNIFORM,
    )  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    members = torch.stack([GOLD, 3 * GOLD], -1).expand(2, 2, 3, 2)
    return described(POLICY, members.contiguous())


def test_columns(rows):
    first, second = rows.to_dict("records")
    assert (first["seed"], second["seed"], first["step"]) == (5, 9, 7)
    assert first["gold"] == pytest.approx((0.95 + 1.84) / 2, abs=FLOAT32)
    assert first["proxy"] == pytest.approx(2 * first["gold"], abs=FLOAT32)
    assert first["member_std"] == pytest.approx(math.sqrt(2) * first["gold"], abs=FLOAT32)


def test_entropy_and_divergence_stay_finite_where_a_probability_is_zero(rows):
    entropy = -sum(p * math.log(p) for p in (0.95, 0.05, 0.04, 0.92, 0.04)) / 2
    assert rows.entropy[0] == pytest.approx(entropy, abs=FLOAT32)
    assert rows.kl[0] == pytest.approx(math.log(3) - entropy, abs=FLOAT32)


def test_right_and_optimal_answers(rows):
    assert rows.accuracy.tolist() == [1.0, 0.5]
    assert rows.full.tolist() == [True, False]
    assert rows.optimal.tolist() == [True, False]
    almost = POLICY.clone()
    almost[0, 1] = torch.tensor([0.06, 0.88, 0.06])
    found = described(almost, torch.zeros(2, 2, 3, 1))
    assert found.optimal.tolist() == [False, False]
    assert "member_std" not in found
