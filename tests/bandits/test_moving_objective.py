"""beta along an optimisation, and what the critic does to it."""

import numpy as np
import pytest
import torch

from bandits.grid import Grid
from bandits.moving_objective import MovingObjective
from bandits.optimisers import PPO, Exact, Gradient
from bandits.policies import TabularPolicy
from tests.tolerance import FLOAT32
from theory.errors import InputError
from theory.objective import sample_reward, value
from theory.optimum import bind
from theory.penalties import Budget, Penalty, TargetKL
from theory.policy_gradient import gae
from theory.presets import (
    adaptive,
    ensemble_mean,
    reward_robust_policy,
    vanilla,
    variance_aware_kl,
    variance_aware_ppo,
)
from theory.schedules import Annealed, Controller
from theory.scores import Scores

SEEDS = list(range(12))


def last_rows(objective, optimiser, steps=120, world=Grid()):  # noqa: B008
    frames = world.train(objective, optimiser, SEEDS, steps=steps, evaluate_every=steps)
    return list(frames)[-1]


def test_annealing_ends_at_the_strength_of_the_objective():
    schedule = Annealed(2.0, 0.8)
    assert schedule.beta(0.15, 0, 60) == 2.0
    assert abs(schedule.beta(0.15, 48, 60) - 0.15) < 1e-9
    assert schedule.beta(0.15, 59, 60) == schedule.beta(0.15, 48, 60)


@pytest.mark.parametrize(
    "preset",
    [
        vanilla,
        ensemble_mean,
        variance_aware_ppo,
        adaptive,
        pytest.param(reward_robust_policy, marks=pytest.mark.slow),
    ],
)
def test_the_controller_steers_every_run_to_its_kl(preset):
    rows = last_rows(preset(TargetKL(1.0)), PPO(samples=64))
    assert (rows.kl - 1.0).abs().max() < 0.1
    exact = last_rows(preset(TargetKL(1.0)), Exact())
    assert abs(rows.gold.mean() - exact.gold.mean()) < 0.03


def test_the_controller_also_steers_gradients():
    rows = last_rows(ensemble_mean(TargetKL(0.5)), Gradient(), steps=800)
    assert (rows.kl - 0.5).abs().max() < 0.02


@pytest.mark.parametrize("preset", [ensemble_mean, variance_aware_ppo, variance_aware_kl])
@pytest.mark.parametrize("steered", [False, True])
def test_rewards_and_values_are_those_of_the_objective(preset, steered):
    """A controller that does not move is a constant beta."""
    beta = 0.7
    _, log_reference, scores = Grid(dtype="float64").prepare(SEEDS)
    bound = bind(preset(Penalty(beta)), scores, log_reference)
    strength = bound.objective.strength
    if steered:
        strength = TargetKL(1.0)
    asked = bind(preset(strength), scores, log_reference)
    found = MovingObjective(asked, scores, log_reference, 10, None, Controller(beta, gain=1e-12))
    policy = torch.log_softmax(torch.randn(12, 8, 8, dtype=torch.float64), -1)
    torch.testing.assert_close(
        found.reward(0, policy), sample_reward(bound, policy - log_reference, scores)
    )
    torch.testing.assert_close(found.value(0, policy), value(bound, policy, log_reference, scores))


def test_budgets_are_solved_and_not_trained():
    with pytest.raises(InputError, match="a Penalty or a TargetKL"):
        last_rows(ensemble_mean(Budget(0.1)), PPO(), steps=2)


def constant_rewards(reward, ppo, beta, steps):
    """KL of every seed along PPO on one reward for everything."""
    policy, log_reference, scores = Grid().prepare(SEEDS)
    constant = Scores(torch.full_like(scores.members, reward))
    found = ppo.optimise(vanilla(beta), constant, log_reference, policy, SEEDS, steps, 10)
    divergence = [
        (log_policy.exp() * (log_policy - log_reference)).sum(-1).mean()
        for _, log_policy, _ in found
    ]
    return np.array(divergence)


def test_a_constant_reward_moves_nothing_where_the_critic_knows_it():
    """[rewardrobust2024, Lemma 1]; other critics, and whitening, break it."""
    known = PPO(critic_start=2.0, annealed=None)
    assert constant_rewards(2.0, known, 0.05, 30).max() < FLOAT32


@pytest.mark.slow
def test_a_wrong_critic_drifts_and_only_a_penalty_brings_it_back():
    """[rewardrobust2024, Remark 1], which leaves out that beta must be positive."""
    wrong = PPO(critic_start=2.0, annealed=None)
    pulled = constant_rewards(0.0, wrong, 0.2, 200)
    free = constant_rewards(0.0, wrong, 1e-9, 200)
    assert pulled[0] > 0.01
    assert pulled[-1] < 0.1 * pulled.max()
    assert free[-1] > 0.5 * free.max() > 0.01


def test_generalised_advantages_of_one_step_are_reward_minus_value():
    rewards, values = np.array([[1.5], [-2.0]]), np.array([[0.5], [1.0]])
    for lam in (0.0, 0.5, 1.0):
        np.testing.assert_array_equal(gae(rewards, values, 1.0, lam).advantages, rewards - values)


def test_whitened_advantages_do_not_know_the_scale_of_rewards():
    _, log_reference, scores = Grid().prepare(SEEDS)
    ppo = PPO(whiten=True, annealed=None)
    ends = []
    for scale in (1.0, 7.0):
        policy = TabularPolicy.at(log_reference)
        found = ppo.optimise(
            vanilla(scale), Scores(scale * scores.members), log_reference, policy, SEEDS, 15, 15
        )
        ends.append(list(found)[-1][1])
    torch.testing.assert_close(*ends, atol=0.01, rtol=0)


def test_clipping_bounds_what_one_iteration_can_do():
    """With the ratio out of the interval the surrogate is flat: the policy stays near its edge."""
    _, log_reference, scores = Grid().prepare(SEEDS)
    moved = {}
    for clip in (0.05, 1e6):
        policy = TabularPolicy.at(log_reference)
        ppo = PPO(clip=clip, epochs=40, learning_rate=0.05, annealed=None)
        found = ppo.optimise(vanilla(0.1), scores, log_reference, policy, SEEDS, 1, 1)
        moved[clip] = float((list(found)[-1][1] - log_reference).exp().max())
    assert moved[0.05] < 0.5 * moved[1e6]


def test_huge_steps_do_not_overflow():
    rows = last_rows(vanilla(0.1), PPO(learning_rate=2.0, annealed=None), steps=20)
    assert sorted(rows.seed) == SEEDS


@pytest.mark.parametrize(
    "wrong", [lambda: Annealed(0.0), lambda: Annealed(share=0.0), lambda: Controller(gain=0.0)]
)
def test_bad_input(wrong):
    with pytest.raises(InputError):
        wrong()
