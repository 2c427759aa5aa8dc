"""The bandit over repeated estimates: exact laws, heavy tails, and runs that break."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from bandits.optimisers import PPO, Exact, Gradient
from bandits.three_arms import ThreeArms
from tests.tolerance import mc
from theory.errors import InputError
from theory.penalties import Budget
from theory.presets import ensemble_mean, lcb, variance_aware, variance_aware_theorem

SEEDS = list(range(4000))


def returns(objective, world=ThreeArms()):  # noqa: B008
    (frame,) = world.train(objective, Exact(), SEEDS, steps=1, evaluate_every=1)
    return frame.gold.to_numpy()


def test_the_naive_return_is_the_expected_tilt():
    """Against its own simulation in NumPy."""
    rng = np.random.default_rng(0)
    reward, sigma = np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.3, 0.3])
    weights = np.exp(reward + sigma * rng.standard_normal((200_000, 3)))
    expected = (weights / weights.sum(1, keepdims=True)) @ reward
    found = returns(ensemble_mean(1.0))
    assert abs(found.mean() - expected.mean()) <= mc(found.std(), len(SEEDS))


def test_knowing_the_noise_helps_on_this_bandit():
    naive, careful = returns(ensemble_mean(1.0)), returns(lcb(1.0))
    assert careful.mean() > naive.mean()
    assert careful.std() < naive.std()
    aware = returns(variance_aware_theorem(Budget(0.05 * 0.09)))
    assert (aware < 2 - 1e-9).mean() < (naive < 2).mean()


def test_heavy_tails_have_the_same_spread_and_more_extremes():
    _, _, normal = ThreeArms().prepare(SEEDS)
    _, _, heavy = ThreeArms(degrees=3.0).prepare(SEEDS)
    errors = [(s.mean() - ThreeArms().gold)[:, 0, 0] / 2 for s in (normal, heavy)]
    assert abs(errors[0].std() - 1) < 0.06
    assert (errors[1].abs() > 4).sum() > (errors[0].abs() > 4).sum()


@pytest.mark.parametrize("optimiser", [Gradient(0.1), PPO(samples=64, learning_rate=0.05)])
def test_optimisers_come_near_the_exact_policy(optimiser):
    objective, seeds = variance_aware(1.0), list(range(32))
    frames = list(ThreeArms().train(objective, optimiser, seeds, steps=200, evaluate_every=200))
    (exact,) = ThreeArms().train(objective, Exact(), seeds, steps=1, evaluate_every=1)
    assert np.abs(frames[-1].gold - exact.gold).mean() < 0.1


@dataclass(frozen=True)
class Breaks:
    """An optimiser whose second run ends in NaN."""

    all: bool = False

    def optimise(self, objective, scores, log_reference, policy, seeds, steps, evaluate_every):
        for step, log_policy, bound in Exact().optimise(
            objective, scores, log_reference, policy, seeds, steps, evaluate_every
        ):
            broken = log_policy.clone()
            broken[0 if self.all else 1 :][: None if self.all else 1] = torch.nan
            yield step, broken, bound


def test_a_broken_run_is_named_and_the_others_go_on(capsys):
    world = ThreeArms()
    (frame,) = world.train(lcb(), Breaks(), [7, 8, 9], steps=1, evaluate_every=1)
    assert frame.seed.tolist() == [7, 9]
    assert "seed 8 stopped" in capsys.readouterr().out
    with pytest.raises(InputError, match="NaN in all"):
        list(world.train(lcb(), Breaks(all=True), [7, 8], steps=1, evaluate_every=1))


def test_any_number_of_arms():
    world = ThreeArms(reward=(0.0, 1.0, 2.0, 3.0, 4.0), sigma=(1.0,) * 5)
    frames = pd.concat(world.train(lcb(), Exact(), [0, 1], steps=1, evaluate_every=1))
    assert len(frames) == 2
    assert world.name == "bandit of 5 arms, normal"


@pytest.mark.parametrize(
    "wrong",
    [
        {"sigma": (1.0,)},
        {"sigma": (1.0, 1.0, 0.0)},
        {"degrees": 2.0},
        {"reward": (1.0,), "sigma": (1.0,)},
    ],
)
def test_bad_bandits(wrong):
    with pytest.raises(InputError):
        ThreeArms(**wrong)
