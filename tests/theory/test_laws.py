"""What every objective obeys, over the table of all presets."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.laws import (
    ALL,
    BETA,
    DIAGONAL,
    MEMBERS,
    POLICY_LEVEL,
    TRAINABLE,
    Draw,
    log_softmax,
    penalised,
)
from tests.tolerance import EXACT, POLICY, ROUNDING, VALUE
from theory.arrays import to_numpy
from theory.mixes import WorstMix
from theory.objective import Objective, sample_reward, value
from theory.optimum import bind, solve
from theory.penalties import Budget, Constant, Penalty, StdDev, TargetKL, Variance
from theory.presets import PRESETS
from theory.scores import Scores
from theory.utilities import Mean, Member

SEEDS = (0, 1, 2)


def torch_scores(scores: Scores) -> Scores:
    return Scores(torch.tensor(scores.members), head_std=torch.tensor(scores.head_std))


def numeric_gradient(objective, draw: Draw) -> np.ndarray:
    """Gradient of the summed `value` in the logits, by central differences."""
    gradient = np.zeros_like(draw.logits)
    step = 1e-6
    for cell in np.ndindex(draw.logits.shape):
        up, down = draw.logits.copy(), draw.logits.copy()
        up[cell] += step
        down[cell] -= step
        high, low = (
            value(objective, log_softmax(x), draw.log_reference, draw.scores).sum()
            for x in (up, down)
        )
        gradient[cell] = (high - low) / (2 * step)
    return gradient


@pytest.mark.parametrize("name", ALL)
def test_numpy_and_torch_agree(name):
    draw = Draw(0)
    bound = bind(penalised(name), draw.scores, draw.log_reference)
    here = value(bound, draw.log_policy, draw.log_reference, draw.scores)
    tensors = torch_scores(draw.scores)
    log_reference = torch.tensor(draw.log_reference)
    bound = bind(penalised(name), tensors, log_reference)
    log_policy = torch.tensor(draw.log_policy)
    there = value(bound, log_policy, log_reference, tensors)
    np.testing.assert_allclose(there.numpy(), here, atol=ROUNDING)
    policy = solve(penalised(name), log_reference, tensors).policy
    assert isinstance(policy, torch.Tensor)
    expected = solve(penalised(name), draw.log_reference, draw.scores).policy
    np.testing.assert_allclose(policy.numpy(), expected, atol=ROUNDING)


@pytest.mark.parametrize("name", ALL)
def test_torch_gradient_is_the_numerical_one(name):
    draw = Draw(1)
    logits = torch.tensor(draw.logits, requires_grad=True)
    tensors, log_reference = torch_scores(draw.scores), torch.tensor(draw.log_reference)
    bound = bind(penalised(name), tensors, log_reference)
    value(bound, torch.log_softmax(logits, -1), log_reference, tensors).sum().backward()
    numeric = numeric_gradient(bind(penalised(name), draw.scores, draw.log_reference), draw)
    np.testing.assert_allclose(logits.grad.numpy(), numeric, atol=VALUE)


@pytest.mark.parametrize("name", TRAINABLE)
def test_sample_reward_has_the_gradient_of_the_value(name):
    draw = Draw(2)
    bound = bind(penalised(name), draw.scores, draw.log_reference)
    reward = sample_reward(bound, draw.log_policy - draw.log_reference, draw.scores)
    policy = np.exp(draw.log_policy)
    baseline = (policy * reward).sum(-1, keepdims=True)
    enumerated = policy * (reward - baseline)  # E[reward * d ln pi / d logit]
    np.testing.assert_allclose(enumerated, numeric_gradient(bound, draw), atol=VALUE)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ALL)
def test_solve_agrees_with_cvxpy(name, seed):
    draw = Draw(seed)
    ours = solve(penalised(name), draw.log_reference, draw.scores)
    theirs = solve(penalised(name), draw.log_reference, draw.scores, method="cvxpy")
    assert theirs.method == "cvxpy"
    assert abs(ours.value - theirs.value) <= VALUE
    np.testing.assert_allclose(ours.policy, theirs.policy, atol=POLICY)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", DIAGONAL)
def test_solve_certifies_itself(name, seed):
    draw = Draw(seed)
    ours = solve(penalised(name), draw.log_reference, draw.scores)
    assert ours.method != "cvxpy"
    assert ours.kkt_residual <= ROUNDING
    np.testing.assert_allclose(ours.policy.sum(-1), 1, atol=EXACT)


def natural_gradient_ascent(objective, log_reference, scores, steps: int = 4000):
    """Exponentiated gradient from the reference, with a step that grows while the value does.

    It ends where a hundred steps gain a thousandth of the tolerance.
    """
    log_policy, kept, best, rate = log_reference.clone(), log_reference, -torch.inf, 0.1
    before = best
    for step in range(steps):
        if step % 100 == 0:
            if step and best - before < VALUE / 1000:
                break
            before = best
        here = log_policy.clone().requires_grad_()
        reached = value(objective, here, log_reference, scores).mean()
        if reached < best:
            rate, log_policy = rate / 2, kept
            continue
        best, kept = reached.detach(), log_policy
        reached.backward()
        marginal = here.grad / here.detach().exp().clamp_min(1e-300) * len(here)
        log_policy = torch.log_softmax(log_policy + rate * marginal, -1)
        rate *= 1.05
    return float(best)


@pytest.mark.parametrize("name", ALL)
def test_solve_agrees_with_gradient_ascent(name):
    draw = Draw(3)
    objective = penalised(name)
    exact = solve(objective, draw.log_reference, draw.scores)
    tensors, log_reference = torch_scores(draw.scores), torch.tensor(draw.log_reference)
    bound = bind(objective, tensors, log_reference)
    log_policy = torch.as_tensor(exact.log_policy)
    optimum = float(value(bound, log_policy, log_reference, tensors).mean())
    reached = natural_gradient_ascent(bound, log_reference, tensors)
    assert abs(reached - optimum) <= VALUE
    if name not in POLICY_LEVEL:
        assert abs(optimum - exact.value) <= ROUNDING


@pytest.mark.parametrize("name", POLICY_LEVEL)
def test_value_at_the_worst_weights_of_a_policy_is_exact(name):
    draw = Draw(4)
    objective = penalised(name)
    exact = solve(objective, draw.log_reference, draw.scores)
    bound = bind(objective, draw.scores, draw.log_reference, log_policy=exact.log_policy)
    own = value(bound, exact.log_policy, draw.log_reference, draw.scores).mean()
    temperature = objective.utility.temperature
    weights = bound.binding.member_weights.reshape(-1)
    charged = temperature * (weights * np.log(np.maximum(weights * len(weights), 1e-300))).sum()
    assert abs(own + (1 - objective.utility.lam) * charged - exact.value) <= ROUNDING
    elsewhere = bind(objective, draw.scores, draw.log_reference, log_policy=draw.log_policy)
    other = value(elsewhere, draw.log_policy, draw.log_reference, draw.scores).mean()
    weights = elsewhere.binding.member_weights.reshape(-1)
    charged = temperature * (weights * np.log(np.maximum(weights * len(weights), 1e-300))).sum()
    assert other + (1 - objective.utility.lam) * charged <= exact.value + ROUNDING


@pytest.mark.parametrize(("coefficient", "power"), [(StdDev(), 1), (Variance(), 2)])
@pytest.mark.parametrize("form", ["bregman", "kl", "quadratic"])
def test_constant_sigma_is_the_unaware_objective(coefficient, power, form):
    draw, sigma = Draw(5), 1.7
    scores = Scores.known(draw.scores.mean(), np.full(draw.log_policy.shape, sigma))
    aware = solve(Objective(Mean(), coefficient, form, Penalty(BETA)), draw.log_reference, scores)
    plain = Objective(Mean(), Constant(), form, Penalty(BETA * sigma**power))
    unaware = solve(plain, draw.log_reference, scores)
    np.testing.assert_allclose(aware.policy, unaware.policy, atol=ROUNDING)


@pytest.mark.parametrize("coefficient", [StdDev(0.1), Variance(0.1)])
def test_vanishing_sigma_ends_at_the_floor(coefficient):
    draw = Draw(6)
    scores = Scores.known(draw.scores.mean(), np.zeros(draw.log_policy.shape))
    objective = Objective(Mean(), coefficient, "bregman", Penalty(BETA))
    power = 2 if isinstance(coefficient, Variance) else 1
    strength = Penalty(BETA * 0.1**power)
    floor = replace(objective, coefficient=Constant(), strength=strength)
    np.testing.assert_allclose(
        solve(objective, draw.log_reference, scores).policy,
        solve(floor, draw.log_reference, scores).policy,
        atol=ROUNDING,
    )


@pytest.mark.parametrize("name", [n for n in ALL if penalised(n).form != "kl"])
def test_infinite_strength_stays_at_the_reference(name):
    draw = Draw(7)
    objective = replace(penalised(name, 1e9), name=name)
    if name == "adaptive_experts":
        pytest.skip("its lam is the strength: beta multiplies a coefficient below 1")
    solution = solve(objective, draw.log_reference, draw.scores)
    np.testing.assert_allclose(solution.policy, np.exp(draw.log_reference), atol=VALUE)


def test_infinite_strength_of_weighted_kl_does_not():
    draw = Draw(7)
    solution = solve(penalised("variance_aware_kl", 1e9), draw.log_reference, draw.scores)
    assert np.abs(solution.policy - np.exp(draw.log_reference)).max() > 0.05


SHIFT_DEPENDENT = {
    # a product of experts shrinks the mean of a response by its own variance
    "adaptive_experts_per_sample": lambda: PRESETS["adaptive_experts"](per="sample"),
}


@pytest.mark.parametrize("name", ALL)
def test_a_prompt_constant_changes_nothing(name):
    draw = Draw(8)
    offset = np.array([3.0, -2.0, 1.0])[:, None, None]
    shifted = replace(draw.scores, members=draw.scores.members + offset)
    before = solve(penalised(name), draw.log_reference, draw.scores)
    after = solve(penalised(name), draw.log_reference, shifted)
    tolerance = POLICY if before.method == "cvxpy" else ROUNDING
    np.testing.assert_allclose(after.policy, before.policy, atol=tolerance)


@pytest.mark.parametrize("name", SHIFT_DEPENDENT)
def test_a_prompt_constant_matters_to_per_sample_experts(name):
    draw = Draw(8)
    shifted = replace(draw.scores, members=draw.scores.members + 3)
    before = solve(SHIFT_DEPENDENT[name](), draw.log_reference, draw.scores)
    after = solve(SHIFT_DEPENDENT[name](), draw.log_reference, shifted)
    assert np.abs(after.policy - before.policy).max() > 0.05


@pytest.mark.parametrize("name", ALL)
def test_identical_members_are_that_member(name):
    draw = Draw(9)
    same = np.repeat(draw.scores.members[..., :1], MEMBERS, axis=-1)
    scores = Scores(same, head_std=draw.scores.head_std)
    objective = penalised(name)
    alone = replace(objective, utility=Member(0))
    if "experts" in name:
        pytest.skip("its utility is a multiple of the member")
    if objective.coefficient.matrix:
        scores = replace(scores, known_covariance=np.eye(5) + np.zeros((3, 5, 5)))
    np.testing.assert_allclose(
        solve(objective, draw.log_reference, scores).policy,
        solve(alone, draw.log_reference, scores).policy,
        atol=VALUE,
    )


@pytest.mark.parametrize("name", [n for n in ALL if penalised(n).utility.symmetric])
def test_permuting_members_changes_nothing(name):
    draw = Draw(10)
    order = np.random.default_rng(0).permutation(MEMBERS)
    permuted = Scores(draw.scores.members[..., order], head_std=draw.scores.head_std[..., order])
    np.testing.assert_allclose(
        solve(penalised(name), draw.log_reference, permuted).policy,
        solve(penalised(name), draw.log_reference, draw.scores).policy,
        atol=ROUNDING if name in DIAGONAL else POLICY,
    )


@pytest.mark.parametrize("name", DIAGONAL)
def test_one_run_does_not_depend_on_the_others(name):
    draws = [Draw(seed) for seed in SEEDS]
    together = Scores(
        np.stack([d.scores.members for d in draws]), np.stack([d.scores.head_std for d in draws])
    )
    log_reference = np.stack([d.log_reference for d in draws])
    batch = solve(penalised(name), log_reference, together)
    for i, draw in enumerate(draws):
        alone = solve(penalised(name), draw.log_reference, draw.scores)
        np.testing.assert_allclose(batch.policy[i], alone.policy, atol=ROUNDING)
        assert abs(batch.value[i] - alone.value) <= ROUNDING


@pytest.mark.parametrize("strength", [Budget(0.02), Budget(0.02, per_prompt=True), TargetKL(0.05)])
@pytest.mark.parametrize("name", [n for n in DIAGONAL if n not in ("safe", "adaptive_experts")])
def test_a_constraint_is_met_and_is_a_penalty(name, strength):
    draw = Draw(11)
    if isinstance(strength, Budget) and strength.per_prompt and name in POLICY_LEVEL:
        pytest.skip("its members are shared by the prompts")
    objective = replace(penalised(name), strength=strength)
    solution = solve(objective, draw.log_reference, draw.scores)
    if solution.status == "infeasible":
        assert name == "variance_aware_kl"
        assert isinstance(strength, TargetKL)
        return
    assert solution.status == "optimal"
    assert solution.kkt_residual <= ROUNDING
    reached = solution.kl if isinstance(strength, TargetKL) else solution.penalty
    wanted = strength.kl if isinstance(strength, TargetKL) else strength.eps
    assert abs(reached - wanted) <= ROUNDING
    if solution.beta.shape == ():
        again = solve(solution.as_penalty(), draw.log_reference, draw.scores)
        np.testing.assert_allclose(again.policy, solution.policy, atol=VALUE)


def test_float32_scores_give_float32_policies():
    draw = Draw(12)
    scores = Scores(torch.tensor(draw.scores.members, dtype=torch.float32))
    solution = solve(PRESETS["lcb"](), torch.tensor(draw.log_reference), scores)
    assert solution.policy.dtype == torch.float32
    assert not solution.policy.requires_grad
    exact = solve(PRESETS["lcb"](), draw.log_reference, Scores(draw.scores.members))
    np.testing.assert_allclose(to_numpy(solution.policy), exact.policy, atol=VALUE)


def test_presets_compare_hash_and_print():
    for name, preset in PRESETS.items():
        first, second = penalised(name), penalised(name)
        assert first == second
        assert hash(first) == hash(second)
        assert str(first).startswith("max E[")
        assert preset.__doc__
    assert PRESETS["reward_robust"]().utility == WorstMix(0.4)
