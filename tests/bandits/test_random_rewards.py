"""Random rewards: two sums a cell against every sample, and laws of the rules."""

import dataclasses

import numpy as np
import pytest
import torch

from bandits.grid import Grid
from bandits.optimisers import PPO
from bandits.random_rewards import RULES, RandomRewards, signed_sums
from bandits.rollouts import drawn, whitened
from theory.errors import InputError
from theory.order_statistics import gaussian_max_mean, gaussian_max_std
from theory.presets import ensemble_mean, vanilla
from theory.scores import Scores

SEEDS = [0, 1, 2]


def optimise(optimiser, objective, seeds=SEEDS, *, zero=False, steps=6):
    policy, log_reference, scores = Grid(sft=0.6).prepare(seeds)
    if zero:
        scores = Scores(torch.zeros_like(log_reference)[..., None])
    found = optimiser.optimise(objective, scores, log_reference, policy, seeds, steps, steps)
    return list(found)[-1][1], log_reference


@pytest.mark.parametrize("whiten", [False, True])
def test_without_noise_it_is_ppo(whiten):
    """Sums of advantages of equal rewards are counts times the advantage."""
    ppo = PPO(annealed=None, whiten=whiten, critic_start=0.7)
    ours = RandomRewards(rules=("constant",), whiten=whiten, critic_start=0.7)
    same, _ = optimise(ppo, ensemble_mean(0.1))
    found, _ = optimise(ours, ensemble_mean(0.1))
    torch.testing.assert_close(found, same, atol=2e-4, rtol=2e-4)


def test_two_sums_a_cell_give_the_loss_of_all_samples():
    rng, clip = torch.Generator().manual_seed(0), 0.2
    before = torch.log_softmax(torch.randn(2, 3, 4, generator=rng, dtype=torch.float64), -1)
    after = torch.log_softmax(before + torch.randn(2, 3, 4, generator=rng), -1)
    chosen = drawn(before, torch.rand(2, 3, 50, generator=rng, dtype=torch.float64))
    advantage = torch.randn(2, 3, 50, generator=rng, dtype=torch.float64)
    ratio = (after - before).exp()
    trusted = ratio.clamp(1 - clip, 1 + clip)
    each = torch.minimum(*(r.gather(-1, chosen) * advantage for r in (ratio, trusted)))
    sums = signed_sums(advantage, chosen, like=before)
    by_cell = torch.minimum(ratio * sums, trusted * sums).sum(0)
    torch.testing.assert_close(by_cell.sum(-1), each.sum(-1))


def test_whitened_advantages_of_a_seed():
    numbers = torch.arange(24.0, dtype=torch.float64).reshape(2, 3, 4) ** 2
    found = whitened(numbers, torch.ones_like(numbers))
    torch.testing.assert_close(found.mean((-1, -2)), torch.zeros(2).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(found.square().mean((-1, -2)), torch.ones(2).double())


@pytest.mark.parametrize(
    ("rule", "mean", "std"),
    [
        ("constant", 0, 0),
        ("random", 0, 1),
        ("mean", 0, 5**-0.5),
        ("min", -gaussian_max_mean(5), gaussian_max_std(5)),
        ("max", gaussian_max_mean(5), gaussian_max_std(5)),
    ],
)
def test_moments_of_the_rules(rule, mean, std):
    found = RULES[rule](np.random.default_rng(0).standard_normal((200_000, 5)))
    assert abs(found.mean() - mean) < 0.015
    assert abs(found.std() - std) < 0.015


def test_rules_share_out_the_runs():
    twice = RandomRewards(rules=("min", "random"))
    both, _ = optimise(twice, vanilla(0.05), SEEDS * 2, zero=True)
    for part, rule in zip(both.split(len(SEEDS)), twice.rules, strict=True):
        alone, _ = optimise(RandomRewards(rules=(rule,)), vanilla(0.05), zero=True)
        torch.testing.assert_close(part, alone, atol=1e-5, rtol=1e-4)


def test_a_constant_reward_moves_an_actor_only_with_a_wrong_critic():
    right, start = optimise(RandomRewards(rules=("constant",)), vanilla(0.05), zero=True)
    torch.testing.assert_close(right, start, atol=1e-5, rtol=1e-5)
    wrong = RandomRewards(rules=("constant",), critic_start=2.0)
    moved, _ = optimise(wrong, vanilla(0.05), zero=True)
    assert (moved - start).abs().max() > 0.05


def test_fixed_noise_is_a_reward_that_can_be_learnt():
    """Its optimum differs from the reference by the same noise for as long as it is trained."""
    fixed = RandomRewards(fixed=True)
    cells = fixed.draw_noise(torch.zeros(3, 8, 8), SEEDS, steps=1)
    assert cells.shape == (3, 8, 8)
    after, start = optimise(fixed, vanilla(0.05), zero=True, steps=40)
    gained = ((after.exp() - start.exp()) * cells).sum(-1).mean()
    assert gained > 0.3
    assert fixed.draw_noise(torch.zeros(1, 8, 8), [2], steps=9).equal(cells[2:])


def test_sgd_steps_scale_with_rewards_and_adam_steps_do_not():
    sgd = RandomRewards(rules=("constant",), critic_start=0.01, descent="sgd", epochs=1)
    moved = {}
    for descent, factor in (("sgd", 1), ("sgd", 10), ("adam", 1), ("adam", 10)):
        optimiser = dataclasses.replace(sgd, descent=descent, critic_start=0.01 * factor)
        after, start = optimise(optimiser, vanilla(1e-9), zero=True, steps=1)
        moved[descent, factor] = float((after - start).abs().mean())
    assert moved["sgd", 10] == pytest.approx(10 * moved["sgd", 1], rel=0.02)
    assert moved["adam", 10] == pytest.approx(moved["adam", 1], rel=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": ("least",)}, "rules"),
        ({"heads": 0}, "heads"),
        ({"descent": "adagrad"}, "descent"),
        ({"samples": 0}, "samples"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        RandomRewards(**options)


def test_runs_must_divide_among_the_rules():
    with pytest.raises(InputError, match="multiple of 2 rules"):
        optimise(RandomRewards(rules=("min", "max")), vanilla(0.1), zero=True)
