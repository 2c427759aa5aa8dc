"""The one loop of tabular worlds: policies that run away are told from those that do not."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from bandits.optimisers import OPTIMISERS
from bandits.policies import TabularPolicy
from bandits.training import MOST_KL, TabularWorld
from theory.presets import vanilla
from theory.scores import Scores


@dataclass(frozen=True)
class Far(TabularWorld):
    """A response that the reference hardly knows is said to be the best."""

    distance: float = 30.0
    name = "far"
    gold = torch.tensor([[0.0, 1.0]], dtype=torch.float64)

    def prepare(self, seeds):
        """The odd seeds have the near reference, the others the far one."""
        log_odds = torch.tensor([[[0.0, -1.0 if seed % 2 else -self.distance]] for seed in seeds])
        reference = log_odds.double().log_softmax(-1)
        members = 1000.0 * self.gold.expand(len(seeds), 1, 2)[..., None]
        return TabularPolicy.at(reference), reference, Scores(members)


def trained(world, strength, seeds=range(4)):
    frames = world.train(vanilla(strength), OPTIMISERS["exact"], seeds, steps=2, evaluate_every=1)
    return pd.concat(list(frames))


def test_a_policy_beyond_the_reference_is_marked_and_told_of_once(capsys):
    rows = trained(Far(), 0.1)
    assert (rows.diverged == (rows.seed % 2 == 0)).all()
    assert (rows.kl > MOST_KL).equals(rows.diverged)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "in 2 of 4 seeds" in said[0]
    assert "such as 0:" in said[0]


@pytest.mark.parametrize("distance", [1.0, 7.0, 15.0])
def test_a_policy_within_it_is_not(distance, capsys):
    rows = trained(Far(distance), 0.1)
    assert not rows.diverged.any()
    assert np.isfinite(rows.kl).all()
    assert capsys.readouterr().err == ""
