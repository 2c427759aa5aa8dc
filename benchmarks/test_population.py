"""A population of grid runs against the same work as a plain loop over runs with `nn.Module`s.

Run with `OMP_NUM_THREADS=1 pytest benchmarks/test_population.py --benchmark-enable`.
"""

import time

import numpy as np
import torch

from bandits.grid import Grid
from bandits.optimisers import PPO
from theory.presets import PRESETS, reward_robust

SEEDS, STEPS, PROMPTS, RESPONSES = 256, 60, 8, 8
STUDY = ("vanilla", "ensemble_mean", "wco", "best_case", "reward_robust")


def network():
    layers = [torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 32), torch.nn.Tanh()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(32, 8))


def plain_run(ppo=PPO()):  # noqa: B008
    """Four reward models and one actor, one after the other, as a tutorial would write it."""
    prompts, best = torch.eye(PROMPTS), torch.arange(PROMPTS)
    rejected = torch.stack([torch.randperm(7)[:2] for _ in range(PROMPTS)])
    rejected += rejected >= best[:, None]
    members = []
    for _ in range(4):
        model = network()
        adam = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(50):
            scores = model(prompts)
            margin = scores.gather(1, best[:, None]) - scores.gather(1, rejected)
            loss = -torch.nn.functional.logsigmoid(margin).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        members.append(model(prompts).detach())
    scores = torch.stack(members, -1)
    utility = 0.4 * scores[..., 0] + 0.6 * scores[..., 1:].min(-1).values
    actor = network()
    reference = torch.log_softmax(actor(prompts), -1).detach()
    adam = torch.optim.Adam(actor.parameters(), lr=5e-3)
    critic = torch.zeros(PROMPTS)
    for step in range(STEPS):
        beta = ppo.annealed.beta(0.15, step, STEPS)
        with torch.no_grad():
            before = torch.log_softmax(actor(prompts), -1)
            drawn = torch.distributions.Categorical(logits=before).sample((16,)).T
            reward = (utility - beta * (before - reference)).gather(1, drawn)
            advantage = reward - critic[:, None]
            critic = critic + 0.3 * (reward.mean(1) - critic)
        for _ in range(4):
            ratio = (torch.log_softmax(actor(prompts), -1) - before).gather(1, drawn).exp()
            surrogate = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
            loss = -surrogate.mean()
            adam.zero_grad()
            loss.backward()
            adam.step()


def population(names=("reward_robust",)):
    world = Grid()
    for name in names:
        frames = world.train(
            PRESETS[name](0.15), PPO(), range(SEEDS), steps=STEPS, evaluate_every=STEPS
        )
        final = list(frames)[-1]
    return final


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def test_population_against_a_plain_loop(benchmark):
    assert reward_robust(0.15) == PRESETS["reward_robust"](0.15)
    ratios = [seconds(plain_run) / (seconds(population) / SEEDS) for _ in range(5)]
    benchmark.extra_info["times_faster"] = float(np.median(ratios))
    final = benchmark.pedantic(population, rounds=3)
    assert final.full.mean() > 0.8


def test_default_study(benchmark):
    final = benchmark.pedantic(population, args=(STUDY,), rounds=1)
    assert len(final) == SEEDS
