"""Rewards of tokens: their sums, their places, and the objective that they stand for."""

from dataclasses import replace

import pytest
import torch

from llm_bridge.rewards.normalise import Normaliser
from llm_bridge.shaping import Shaper, response_level
from tests.tolerance import FLOAT32
from theory.errors import InputError
from theory.objective import Bound, sample_reward
from theory.optimum import bind
from theory.penalties import Budget, Penalty, TargetKL
from theory.presets import (
    adaptive,
    ensemble_mean,
    lcb,
    reward_robust,
    reward_robust_policy,
    vanilla,
    variance_aware,
    variance_aware_kl,
    variance_aware_theorem,
    wco,
)
from theory.scores import Scores

PROMPTS, BETA = ["a", "b"], 0.3
PRESETS = [vanilla, ensemble_mean, wco, lcb, reward_robust, reward_robust_policy, variance_aware,
           variance_aware_kl, adaptive, lambda s: adaptive(s, per="sample")]  # fmt: skip


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def normaliser():
    raw = iter([numbers(2 * 16, 4) * torch.tensor([1.0, 2.0, 3.0, 4.0]) + 5])
    references = {prompt: [str(i) for i in range(16)] for prompt in PROMPTS}
    return Normaliser.fit(lambda *_: Scores(next(raw)), references, normalise="standardised")


def test_reference_responses_are_centred_and_of_unit_spread(normaliser):
    members = normaliser.table.members
    assert float(members.mean(1).abs().max()) < FLOAT32
    torch.testing.assert_close(members.square().mean((0, 1)), torch.ones(4))


def test_scores_are_normalised_as_their_prompt_was(normaliser):
    raw = numbers(3, 4, seed=1)
    scorer = replace(normaliser, score=lambda *_: Scores(raw))
    found = scorer(["b", "a", "b"], ["x"] * 3).members
    expected = (raw - normaliser.offset[[1, 0, 1]]) / normaliser.scale
    torch.testing.assert_close(found, expected)


@pytest.fixture(scope="module")
def samples():
    live = torch.ones(6, 5, dtype=torch.bool)
    live[1, 3:] = live[4, 1:] = False
    places = torch.tensor([0, 1, 1, 0, 1, 0])
    return Scores(numbers(6, 4, seed=2)), places, numbers(6, 5, seed=3) * live, live


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("charge", ["last", "spread"])
def test_rewards_sum_to_the_sample_reward(preset, charge, normaliser, samples):
    """That of the table's binding, one sample at a time."""
    scores, places, log_ratio, live = samples
    shaper = Shaper(preset(BETA), normaliser, charge=charge)
    rewards = shaper.rewards(scores, places, log_ratio, live, BETA)
    assert (rewards[~live] == 0).all()
    bound = bind(preset(BETA), normaliser.table, normaliser.log_reference())
    for row in range(6):
        wide = Scores(scores.members[row].expand(2, 16, 4).contiguous())
        ratio = log_ratio[row].sum().expand(2, 16)
        expected = sample_reward(Bound(bound.objective, bound.binding), ratio, wide)
        assert abs(float(rewards[row].sum() - expected[places[row], 0])) < FLOAT32


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_charged_where(preset, normaliser, samples):
    scores, places, log_ratio, live = samples
    last = Shaper(preset(BETA), normaliser, charge="last")
    rewards = last.rewards(scores, places, log_ratio, live, BETA)
    ends = live.sum(1) - 1
    assert (rewards.abs() > 0).sum() == 6
    assert (rewards[torch.arange(6), ends] != 0).all()
    spread = Shaper(preset(BETA), normaliser, charge="spread")
    assert (spread.rewards(scores, places, log_ratio, live, BETA)[0] != 0).all()


def test_penalties_of_a_response_are_charged_at_its_end(normaliser):
    """A price that every response has may be spread; then lambda may be below 1."""
    for preset in PRESETS:
        objective = preset(BETA)
        shaper = Shaper(objective, normaliser, charge="auto")
        assert shaper.spread == (not response_level(objective))
        assert shaper.default_lam == (0.95 if shaper.spread else 1.0)
    assert response_level(variance_aware())
    assert response_level(adaptive(per="sample"))
    assert not response_level(adaptive(per="prompt"))
    assert not response_level(reward_robust())


def test_a_target_is_priced_at_the_beta_of_the_moment(normaliser, samples):
    steered = Shaper(variance_aware(TargetKL(1.0)), normaliser, charge="last")
    fixed = Shaper(variance_aware(Penalty(0.7)), normaliser, charge="last")
    torch.testing.assert_close(steered.rewards(*samples, 0.7), fixed.rewards(*samples, 0.7))


def test_a_form_without_a_sample_reward_is_refused(normaliser, samples):
    shaper = Shaper(variance_aware_theorem(Penalty(0.1)), normaliser, charge="last")
    with pytest.raises(InputError, match="'bregman' or 'kl'"):
        shaper.rewards(*samples, 0.1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda n: Shaper(vanilla(), n, charge="first"), "charge"),
        (lambda n: Shaper(vanilla(Budget(0.1)), n, charge="auto"), "a Penalty or a TargetKL"),
        (lambda n: n.places(["c"]), "reference responses were drawn for"),
        (lambda n: Normaliser.fit(n.score, {"a": ["x"] * 7}), "at least 8"),
        (lambda n: Normaliser.fit(n.score, {"a": ["x"] * 8, "b": ["x"] * 9}), "as many for all"),
    ],
)
def test_bad_input(wrong, message, normaliser):
    with pytest.raises(InputError, match=message):
        wrong(normaliser)
