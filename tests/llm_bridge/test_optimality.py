"""Policies that the theory knows: at the optimum, on the way to it, and beside it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_bridge.optimality import compare, distance, measure
from llm_bridge.tilt import Responses, regress
from tests.tolerance import EXACT, FLOAT32, ROUNDING, VALUE
from theory.errors import InputError
from theory.kl_estimators import exact_kl
from theory.objective import Objective, value
from theory.optimum import bind, solve
from theory.penalties import Penalty, TargetKL, Variance
from theory.presets import (
    adaptive,
    reward_robust,
    vanilla,
    variance_aware,
    variance_aware_kl,
)
from theory.scores import Scores
from theory.utilities import Member

BETA, PROMPTS, CELLS = 0.7, 3, 12
PRESETS = [vanilla, variance_aware, variance_aware_kl, reward_robust, adaptive]
seeds = st.integers(0, 2**32 - 1)


class Table:
    """Scores and a reference, at random."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        spread = np.exp(self.rng.normal(size=(PROMPTS, CELLS, 1)) / 2)
        noise = spread * self.rng.normal(size=(PROMPTS, CELLS, 4))
        self.scores = Scores(self.rng.normal(size=(PROMPTS, CELLS, 1)) + noise)
        self.log_reference = np.log(self.rng.dirichlet(np.full(CELLS, 3.0), PROMPTS))

    def optimum(self, objective):
        """Every cell once, under the optimum."""
        bound = bind(objective, self.scores, self.log_reference)
        cells = np.ones((PROMPTS, CELLS))
        utility = objective.utility(self.scores, bound.binding)
        price = cells * objective.coefficient(self.scores, bound.binding)
        log_policy = solve(bound, self.log_reference, self.scores).log_policy
        return Responses(utility, price, log_policy - self.log_reference, objective.form)


@pytest.mark.parametrize("preset", PRESETS)
@given(seed=seeds)
def test_at_the_optimum_slope_fit_and_sharpness_are_one(preset, seed):
    found = regress(Table(seed).optimum(preset(BETA)), BETA)
    np.testing.assert_allclose([found.slope, found.r_squared], 1.0, atol=VALUE)
    assert abs(found.sharpness - 1) < VALUE


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
@given(seed=seeds, share=st.floats(0.05, 2.0))
def test_the_slope_is_the_ratio_of_strengths(preset, seed, share):
    """A policy at the optimum of beta / t, read at beta, has slope t; the coefficient is found."""
    found = regress(Table(seed).optimum(preset(BETA / share)), BETA)
    np.testing.assert_allclose([found.slope, found.sharpness], share, rtol=VALUE)
    assert abs(found.r_squared - 1) < VALUE


def test_an_intercept_that_is_estimated_first_biases_the_slope():
    """nu is beta ln E_pi0 exp(u / beta), not E_pi0 u."""
    table = Table(0)
    at = table.optimum(vanilla(BETA))
    reference = np.exp(table.log_reference)
    policy = reference * np.exp(at.log_ratio)
    excess = at.utility - (reference * at.utility).sum(1, keepdims=True)
    rough = (policy * excess * BETA * at.charge).sum() / (policy * np.square(excess)).sum()
    assert rough < 0.8
    assert abs(regress(at, BETA).slope - 1) < VALUE


def noisy(seed, price=None, form="bregman"):
    """A policy near an optimum, as 40 draws that are all different."""
    rng = np.random.default_rng(seed)
    utility, noise = rng.normal(size=(2, PROMPTS, 40))
    price = np.ones_like(utility) if price is None else np.exp(rng.normal(size=utility.shape) / 2)
    return Responses(utility, price, utility / price + 0.3 * noise, form)


@given(seed=seeds)
def test_with_a_constant_price_the_slope_is_the_fit_times_the_sharpness(seed):
    found = regress(noisy(seed), BETA)
    assert abs(found.slope - found.r_squared * found.sharpness) < ROUNDING


@given(seed=seeds, form=st.sampled_from(["bregman", "kl"]))
def test_an_intercept_a_prompt_changes_nothing(seed, form):
    at = noisy(seed, price="varied", form=form)
    moved = replace(at, utility=at.utility + np.array([[5.0], [-3.0], [0.0]]))
    first, second = regress(at, BETA), regress(moved, BETA)
    assert abs(first.slope - second.slope) < ROUNDING
    assert abs(first.sharpness - second.sharpness) < ROUNDING


def test_errors_cover():
    """Standard errors against the spread over repetitions."""
    fits = [regress(noisy(seed, price="varied"), BETA) for seed in range(400)]
    for name in ("slope", "sharpness"):
        spread = np.std([getattr(fit, name) for fit in fits])
        error = np.mean([getattr(fit, f"{name}_error") for fit in fits])
        assert abs(error / spread - 1) < 0.15


DRAWS = 48


class Counted:
    """Two policies whose probabilities are multiples of 1 / DRAWS: their draws are their laws."""

    def __init__(self, seed, form="bregman"):
        rng = np.random.default_rng(seed)
        self.counts, self.before = (
            1 + rng.multinomial(DRAWS - 6, np.full(6, 1 / 6), size=2) for _ in range(2)
        )
        self.utility, self.price = rng.normal(size=(2, 6)), np.exp(rng.normal(size=(2, 6)) / 2)
        self.form = form
        self.log_policy, self.log_reference = np.log(np.stack([self.counts, self.before]) / DRAWS)

    def drawn(self, counts):
        columns = (self.utility, self.price, self.log_policy - self.log_reference)
        repeated = (
            np.stack([np.repeat(*pair) for pair in zip(column, counts, strict=True)])
            for column in columns
        )
        return Responses(*repeated, self.form)

    @property
    def responses(self):
        return self.drawn(self.counts), self.drawn(self.before)

    @property
    def scores(self):
        return Scores(self.utility[..., None], known_variance=self.price)

    def objective(self, strength):
        return Objective(Member(0), Variance(1e-9), self.form, strength)


@pytest.mark.slow
@settings(max_examples=3)
@given(seed=seeds, form=st.sampled_from(["bregman", "kl"]))
def test_the_distance_is_that_of_the_table(seed, form):
    world = Counted(seed, form)
    found = compare(*world.responses, BETA)
    problem = world.objective(Penalty(BETA))
    best = solve(problem, world.log_reference, world.scores)
    own = value(problem, world.log_policy, world.log_reference, world.scores).mean()
    assert abs(found.distance.gap - (best.value - own)) < VALUE
    assert found.distance.gap >= -EXACT
    to_best = exact_kl(world.log_policy, best.log_policy).mean()
    assert abs(found.distance.kl_to_optimum - to_best) < VALUE

    kl = float(exact_kl(world.log_policy, world.log_reference).mean())
    assert abs(found.kl - kl) < ROUNDING
    alike = solve(world.objective(TargetKL(kl)), world.log_reference, world.scores)
    gained = found.utility - found.reference_utility
    attainable = alike.expected_utility - found.reference_utility
    np.testing.assert_allclose(found.distance.shortfall, 1 - gained / attainable, atol=VALUE)


@given(seed=seeds, form=st.sampled_from(["bregman", "kl"]))
def test_the_sharpness_tells_whether_moving_on_pays(seed, form):
    """d value / dt along pi0^(1-t) pi^t at t = 1 is Cov_pi(ln(pi / pi0), u) (1 - sharpness)."""
    world = Counted(seed, form)
    policy, before = torch.tensor(world.log_policy), torch.tensor(world.log_reference)
    scores = Scores(torch.tensor(world.scores.members), known_variance=torch.tensor(world.price))
    t = torch.ones((), dtype=torch.float64, requires_grad=True)
    path = (before + t * (policy - before)).log_softmax(-1)
    value(world.objective(Penalty(BETA)), path, before, scores).mean().backward()
    drawn = world.responses[0]
    ratio = drawn.log_ratio - drawn.log_ratio.mean(1, keepdims=True)
    covariance = (ratio * drawn.utility).mean()
    slope = covariance * (1 - regress(drawn, BETA).sharpness)
    assert abs(slope - float(t.grad)) < ROUNDING


@pytest.mark.slow
def test_a_trained_language_model_is_measured(quick, brief):
    """Its own utility, price and strength; a strength twice as large doubles what it is read at."""
    trainer = quick.trainer(vanilla(0.5), replace(brief, learning_rate=2e-3), 0)
    for _ in trainer.run(3):
        pass
    rows = []
    for _ in range(2):
        generator = quick.generator(0, "optimality")
        rows.append(measure(trainer, samples=16, generator=generator).row())
        trainer.log_beta += np.log(2)
    first, second = rows
    for name in ("beta", "slope", "sharpness", "slope_reference"):
        assert second[name] == pytest.approx(2 * first[name], rel=FLOAT32)
    for name in ("kl", "utility", "r_squared", "beta_effective"):
        assert second[name] == pytest.approx(first[name], rel=FLOAT32)
    assert first["beta_effective"] == pytest.approx(0.5 / first["slope"], rel=FLOAT32)
    assert first["gap"] >= 0
    assert 0 <= first["shortfall"] <= 1


def test_a_policy_at_the_reference_has_no_slope(quick, brief):
    trainer = quick.trainer(vanilla(0.5), brief, 0)
    with pytest.raises(InputError, match="log_ratio"):
        measure(trainer, samples=4, generator=quick.generator(0, "optimality"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda r: regress(r, 0.0), "beta"),
        (lambda r: regress(replace(r, utility=0 * r.utility), BETA), "utility"),
        (lambda r: regress(replace(r, log_ratio=0 * r.log_ratio), BETA), "log_ratio"),
        (lambda r: distance(r, noisy_half(r), BETA), "reference"),
    ],
)
def test_bad_input(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong(noisy(0))


def noisy_half(responses):
    names = ("utility", "price", "log_ratio")
    return replace(responses, **{n: getattr(responses, n)[:, ::2] for n in names})
