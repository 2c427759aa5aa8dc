"""rewardrobust2024 on the grid: what the tables hold, and verdicts that follow the numbers."""

import numpy as np
import pandas as pd
import pytest
import torch

from bandits.grid import Grid
from bandits.optimisers import PPO
from figures.figure import verdict
from figures.rewardrobust2024 import (
    brme,
    brme_models,
    fusion,
    head_ranges,
    head_scores,
    random_rewards,
    reward_noise,
    scoring_direction,
    scoring_runs,
)
from tests.figures.recorded import recorded
from tests.figures.small import SMALL
from theory.presets import best_case, wco

FIGURES = {
    figure.key.split(".")[1]: figure
    for figure in (
        *scoring_direction.FIGURES, random_rewards.FIGURE, reward_noise.FIGURE,
        head_ranges.FIGURE, *brme.FIGURES, fusion.FIGURE,
    )
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _small():
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), value in SMALL.items():
            patch.setattr(module, name, value)
        yield


@pytest.fixture(scope="module")
def tables():
    """Of every figure."""
    return {key: recorded(figure.key) for key, figure in FIGURES.items()}


CLAIMS = [
    ("fig4a", 0, {"kind": ("end", "matched"), "objective": ("min − max",)}, 1),
    ("fig4a", 1, {"kind": ("decline", "late decline"), "objective": ("max",)}, 1),
    ("fig4a", 2, {"kind": ("decline",), "objective": ("min",)}, -1),
    ("fig9", 0, {"kind": ("end",), "objective": ("min − mean", "mean − max")}, 1),
    ("fig9", 1, {"kind": ("decline", "late decline"), "objective": ("mean",)}, 1),
    ("fig9", 2, {"kind": ("end", "matched"), "objective": ("mix − mean",)}, 1),
    ("fig4b", 0, {"kind": ("curve", "end"), "objective": ("min", "random − min")}, 1),
    ("fig4b", 1, {"kind": ("end",), "objective": ("max − min", "mean − min")}, 1),
    ("reward_noise", 0, {"kind": ("end",), "objective": ("random − min",)}, 1),
    ("fig5b", 0, {"kind": ("head range minus",)}, 1),
    ("fig5b", 2, {"kind": ("share minus heads",)}, 1),
    ("fig6", 0, {"kind": ("margin gain",), "reading": ("brme",)}, 1),
    ("fig6", 1, {"kind": ("accuracy gain",), "reading": ("brme",)}, 1),
    ("fig7", 0, {"kind": ("coverage gain",)}, 1),
    ("fig7", 1, {"kind": ("correlation",)}, 1),
    ("table8", 0, {"kind": ("gain",)}, 1),
    ("table8", 1, {"kind": ("gain",)}, 1),
]


@pytest.mark.parametrize(("key", "index", "where", "sign"), CLAIMS)
def test_verdicts_follow_the_numbers(key, index, where, sign, tables):
    rows = np.logical_and.reduce([tables[key][name].isin(kept) for name, kept in where.items()])
    verdicts = []
    for value in (sign, -sign):
        doctored = tables[key].copy()
        doctored.loc[rows, ["mean", "low", "high"]] = value, value - 0.5, value + 0.5
        verdicts.append(FIGURES[key].findings(doctored)[index].verdict)
    assert verdicts == ["reproduces", "differs"]


def test_verdict_is_partial_where_some_hold():
    assert verdict([True, False]) == "in part"


@pytest.mark.parametrize(("name", "preset"), [("min", wco), ("max", best_case)])
def test_objectives_side_by_side_are_trained_as_alone(name, preset):
    world, seeds = Grid(sft=scoring_runs.SFT), [0, 1]
    rows = scoring_runs.train_side_by_side(world, seeds)
    ours = rows[(rows.objective == name) & (rows.step == 20)]
    objective = preset(scoring_runs.BETA)
    *_, alone = world.train(objective, PPO(annealed=None), seeds, steps=20, evaluate_every=20)
    for column in ("gold", "kl"):
        np.testing.assert_allclose(ours[column], alone[column], rtol=5e-3)


def test_exact_optima_are_matched_in_kl():
    rows = scoring_runs.solve_at_distance(Grid(sft=scoring_runs.SFT), [0, 1])
    np.testing.assert_allclose(rows.kl, scoring_runs.DISTANCE, rtol=1e-4)


def test_declines_are_measured_where_the_other_seeds_peak():
    golds = {0: (0.0, 5.0, 1.0), 1: (0.0, 3.0, 1.0), 2: (9.0, 0.0, 2.0)}
    rows = pd.DataFrame(
        [{"objective": "x", "seed": seed, "step": step, "gold": gold}
         for seed, path in golds.items()
         for step, gold in zip((5, 10, 20), path, strict=True)]
    )  # fmt: skip
    found = scoring_runs.declines(rows).set_index("kind")
    placed = [0.0 - 1.0, 0.0 - 1.0, 0.0 - 2.0]
    assert found.loc["decline", "mean"] == pytest.approx(np.mean(placed))
    assert found.loc["late decline", "mean"] == pytest.approx(np.mean([4.0, 2.0, -2.0]))


def test_a_constant_reward_leaves_the_actor_where_it_was(tables):
    table = tables["fig4b"]
    still = table[(table.objective == "constant") & (table.kind == "curve")]
    assert still["mean"].abs().max() < 1e-6
    wrong = table[(table.objective == "without KL") & (table.metric == "kl")]
    assert wrong["mean"].iloc[-1] > 0.05


def test_sources_are_normalised_and_the_smallest_is_below_every_head(tables):
    scores = np.random.default_rng(0).normal(3.0, 7.0, (4, 8, 8, 2))
    found = head_scores.normalised(scores)
    np.testing.assert_allclose(found.mean(2), 0.0, atol=1e-12)
    np.testing.assert_allclose((found**2).mean((1, 2)), 1.0)
    shares = tables["fig5b"].query("kind == 'share'").pivot_table(
        index=["ensemble", "cells"], columns="source", values="mean"
    )  # fmt: skip
    for head in ("head 1", "head 2", "head 3", "head 4"):
        assert (shares["largest"] <= shares[head]).all()
        assert (shares["smallest"] >= shares[head]).all()


def test_the_true_reward_has_perfect_accuracy_and_margin():
    world, seeds = Grid(), [0, 1]
    gold = world.gold.expand(len(seeds), -1, -1)
    noise = 1e-6 * torch.randn(gold.shape, generator=torch.Generator().manual_seed(0))
    numbers, margins, pairs = brme_models.measure(world, gold + noise, seeds)
    assert numbers["accuracy"].tolist() == numbers["full"].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(margins, brme.PERFECT, rtol=1e-4)
    assert margins.size == pairs.shape[1] == len(seeds) * 8 * (7 - world.preferences.pairs)


def test_standardised_scores_do_not_know_their_scale():
    world, seeds = Grid(), [0, 1]
    _, log_reference, _ = world.prepare(seeds)
    trained = world.scores(seeds)
    mixed = fusion.rescaled(trained, seeds)
    assert not torch.allclose(mixed.centred(log_reference).members, trained.members, atol=0.1)
    torch.testing.assert_close(
        mixed.standardised(log_reference).members, trained.standardised(log_reference).members,
        atol=1e-3, rtol=1e-3,
    )  # fmt: skip
