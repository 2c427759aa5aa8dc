"""`solve`, `value`, `sample_reward` and `bind`: known numbers, domains, and every refusal."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.laws import Draw
from tests.tolerance import EXACT, POLICY, ROUNDING, VALUE
from theory.errors import InputError, SolveError, UnboundError
from theory.matching import matched_beta
from theory.mixes import PolicyWorstMix
from theory.objective import Objective, penalty, sample_reward, value
from theory.optimum import bind, solve
from theory.penalties import Budget, Constant, Covariance, Penalty, TargetKL, Variance
from theory.presets import (
    adaptive,
    covariance_aware,
    ensemble_mean,
    global_dro,
    lcb,
    reward_robust_policy,
    safe,
    trust_region,
    vanilla,
    variance_aware,
    variance_aware_kl,
    variance_aware_ppo,
    variance_aware_theorem,
    variance_unaware_theorem,
)
from theory.schedules import Controller
from theory.scores import Scores
from theory.solvers.weighted_kl_strength import betas_at_kl
from theory.utilities import Mean

REWARD, UNIFORM = np.array([1.0, 2.0, 3.0]), np.log(np.full(3, 1 / 3))
BANDIT = Scores.known(np.array([3.6, 1.8, 2.8]), np.array([2.0, 0.3, 0.3]))


@pytest.mark.parametrize(
    ("objective", "domain", "expected"),
    [
        (variance_unaware_theorem(Budget(0.1)), "sum_to_one", 1.802),
        (variance_aware_theorem(Budget(0.1 * 0.09)), "sum_to_one", 2.197),
        (variance_unaware_theorem(Budget(0.5)), "simplex", 1.184),
        (variance_aware_theorem(Budget(0.5 * 0.09)), "simplex", 2.162),
        (variance_aware_kl(1.0), "simplex", 2.687),
        (variance_aware(1.0), "simplex", 2.175),
    ],
)
def test_the_three_armed_bandit(objective, domain, expected):
    solution = solve(objective, UNIFORM, BANDIT, domain=domain)
    assert round(float(solution.policy @ REWARD), 3) == expected


@pytest.mark.parametrize("domain", ["sum_to_one", "unconstrained"])
@pytest.mark.parametrize("strength", [Penalty(0.4), Budget(0.05), Budget(0.05, per_prompt=True)])
@pytest.mark.parametrize("coefficient", [Constant(), Variance(), Covariance()])
def test_signed_domains_agree_with_cvxpy(domain, strength, coefficient):
    draw = Draw(0)
    objective = Objective(Mean(), coefficient, "quadratic", strength)
    ours = solve(objective, draw.log_reference, draw.scores, domain=domain)
    theirs = solve(objective, draw.log_reference, draw.scores, domain=domain, method="cvxpy")
    assert ours.method == "closed form"
    assert ours.kkt_residual <= ROUNDING
    assert abs(ours.value - theirs.value) <= VALUE
    np.testing.assert_allclose(ours.policy, theirs.policy, atol=POLICY)
    assert np.isnan(ours.kl)
    if domain == "sum_to_one":
        np.testing.assert_allclose(ours.policy.sum(-1), 1, atol=EXACT)


def test_norm_without_positivity_stays_or_is_unbounded():
    draw = Draw(1)
    kept = solve(safe(1e3), draw.log_reference, draw.scores, domain="sum_to_one")
    np.testing.assert_allclose(kept.policy, np.exp(draw.log_reference), atol=EXACT)
    lost = solve(safe(1e-3), draw.log_reference, draw.scores, domain="sum_to_one")
    assert lost.status == "unbounded"
    with pytest.raises(SolveError, match="unbounded"):
        _ = lost.policy


def test_norm_on_the_simplex_stays_at_the_reference_when_the_radius_is_large():
    draw = Draw(2)
    objective = Objective(Mean(), Variance(), "norm", Penalty(50.0))
    solution = solve(objective, draw.log_reference, draw.scores)
    np.testing.assert_allclose(solution.policy, np.exp(draw.log_reference), atol=ROUNDING)
    assert solution.kkt_residual <= ROUNDING


def test_prompt_weights_are_those_of_repeated_prompts():
    draw = Draw(3)
    twice = np.array([0, 0, 1, 2])
    repeated = Scores(draw.scores.members[twice])
    objective = replace(variance_aware(), strength=Budget(0.03))
    weighted = solve(objective, draw.log_reference, Scores(draw.scores.members),
                     prompt_weights=np.array([0.5, 0.25, 0.25]))  # fmt: skip
    plain = solve(objective, draw.log_reference[twice], repeated)
    np.testing.assert_allclose(weighted.policy, plain.policy[1:], atol=ROUNDING)
    assert abs(weighted.beta - plain.beta) <= ROUNDING * plain.beta


def test_one_prompt_needs_no_prompt_axis():
    draw = Draw(4)
    alone = solve(ensemble_mean(), draw.log_reference[0], Scores(draw.scores.members[0]))
    table = solve(ensemble_mean(), draw.log_reference[:1], Scores(draw.scores.members[:1]))
    np.testing.assert_allclose(alone.policy, table.policy[0], atol=EXACT)
    assert alone.policy.shape == (5,)
    assert alone.nu.shape == ()


WAVY = np.array([1.0, 0.95, 0.0]), np.array([5.0, 0.02, 1.0])
"""Utilities and coefficients whose optima have one KL at three beta."""


@pytest.mark.parametrize("form", ["bregman", "quadratic"])
def test_all_beta_at_one_kl_are_listed_and_the_largest_is_taken(form):
    scores = Scores.known(WAVY[0], np.sqrt(WAVY[1]))
    objective = replace(variance_aware(), form=form)
    solution = solve(replace(objective, strength=TargetKL(0.42)), UNIFORM, scores)
    found = solution.crossings[np.isfinite(solution.crossings)]
    assert solution.beta == found[0] == found.max()
    for beta in found:
        there = solve(replace(objective, strength=Penalty(beta)), UNIFORM, scores)
        assert abs(there.kl - 0.42) <= ROUNDING
    if form == "bregman":
        rows = (WAVY[0][None], WAVY[1][None], UNIFORM[None])
        np.testing.assert_allclose(found[::-1], betas_at_kl(*rows, form, 0.42), rtol=EXACT)
        assert len(found) == 3


def test_every_way_to_one_kl_ends_at_the_same_beta():
    """The exact optimum, a scan of trained strengths, and a controller."""
    scores = Scores.known(WAVY[0], np.sqrt(WAVY[1]))
    exact = solve(variance_aware(TargetKL(0.42)), UNIFORM, scores).beta
    scan = np.geomspace(1e-3, 10, 40)
    at = [solve(variance_aware(beta), UNIFORM, scores) for beta in scan]
    assert matched_beta(scan, np.array([a.kl for a in at]), 0.42) == pytest.approx(exact, rel=0.01)
    controller, log_beta = Controller(gain=0.5), np.log(2.0)
    for _ in range(60):
        here = solve(variance_aware(float(np.exp(log_beta))), UNIFORM, scores)
        log_beta = controller.moved(log_beta, here.kl, 0.42)
    assert np.exp(log_beta) == pytest.approx(exact, rel=1e-3)


def test_zero_mass_stays_zero_under_divergences():
    reference = np.log([0.5, 0.5, 1e-300])
    reference[2] = -np.inf
    for objective in (ensemble_mean(0.5), variance_aware(0.5), variance_aware_kl(0.5)):
        solution = solve(objective, reference, BANDIT)
        assert solution.policy[2] == 0
        assert solution.kkt_residual <= ROUNDING
    assert solve(variance_unaware_theorem(Budget(0.1)), reference, BANDIT).policy[2] > 0


def test_infeasible_budgets_have_no_policy():
    solution = solve(variance_aware_kl(Budget(-100.0)), UNIFORM, BANDIT)
    assert solution.status == "infeasible"
    assert np.isnan(solution.policy_or_nan).all()
    with pytest.raises(SolveError, match=r"smallest attainable penalty is -0\.469"):
        _ = solution.log_policy


def test_slack_budgets_are_greedy():
    solution = solve(variance_aware(Budget(100.0)), UNIFORM, BANDIT)
    assert solution.status == "slack"
    np.testing.assert_allclose(solution.policy, [1, 0, 0], atol=EXACT)
    with pytest.raises(InputError, match=r"solution\.beta"):
        solution.as_penalty()


def test_one_failed_run_does_not_hide_the_others():
    mean = np.stack([BANDIT.members[..., 0]] * 2)[:, None]
    scores = Scores.known(mean, np.array([[[2.0, 0.3, 0.3]], [[0.3, 0.3, 0.3]]]))
    solution = solve(variance_aware_kl(Budget(-0.2)), UNIFORM, scores)
    assert solution.status.tolist() == ["optimal", "infeasible"]
    assert np.isfinite(solution.policy_or_nan[0]).all()
    with pytest.raises(SolveError, match="1 of 2 runs"):
        _ = solution.policy


def test_flat_batches_are_scored_sample_by_sample():
    rng = np.random.default_rng(0)
    flat = Scores(rng.normal(size=(7, 4)))
    ratio = rng.normal(size=7)
    expected = flat.mean() - 0.1 * flat.std() * ratio
    reward = sample_reward(variance_aware_ppo(0.1), ratio, flat)
    np.testing.assert_allclose(reward, expected, atol=EXACT)


@pytest.mark.parametrize("objective", [adaptive(), reward_robust_policy(), global_dro()])
def test_what_depends_on_a_batch_must_be_bound(objective):
    draw = Draw(5)
    with pytest.raises(UnboundError, match=r"call bind\(objective, scores, log_reference\)"):
        value(objective, draw.log_policy, draw.log_reference, draw.scores)
    with pytest.raises(UnboundError):
        sample_reward(objective, draw.log_policy, draw.scores)
    with pytest.raises(UnboundError):
        penalty(objective, draw.log_policy, draw.log_reference, draw.scores)
    bound = bind(objective, draw.scores, draw.log_reference)
    assert value(bound, draw.log_policy, draw.log_reference, draw.scores).shape == (3,)


def test_a_bound_objective_can_be_solved():
    draw = Draw(6)
    bound = bind(adaptive(), draw.scores, draw.log_reference)
    np.testing.assert_allclose(
        solve(bound, draw.log_reference, draw.scores).policy,
        solve(adaptive(), draw.log_reference, draw.scores).policy,
        atol=EXACT,
    )


@pytest.mark.parametrize("strength", [Budget(0.1), TargetKL(0.1)])
def test_only_multipliers_can_be_evaluated(strength):
    draw = Draw(7)
    objective = vanilla(strength)
    with pytest.raises(InputError, match="Penalty for `value`"):
        value(objective, draw.log_policy, draw.log_reference, draw.scores)
    with pytest.raises(InputError, match="Penalty for `sample_reward`"):
        sample_reward(objective, draw.log_policy, draw.scores)


def test_quadratics_have_no_sample_reward():
    draw = Draw(8)
    with pytest.raises(InputError, match="'bregman' or 'kl' for a sample reward"):
        sample_reward(trust_region(0.1), draw.log_policy, draw.scores)


def solve_draw(objective, **changes):
    draw = Draw(9)
    arguments = {"log_reference": draw.log_reference, "scores": draw.scores} | changes
    return solve(objective, **arguments)


@pytest.mark.parametrize(
    ("objective", "changes", "words"),
    [
        (vanilla(), {"log_reference": UNIFORM}, ["(3, 5)", "(3,)"]),
        (vanilla(), {"log_reference": -Draw(9).log_reference}, ["log-probabilities", "np.log"]),
        (vanilla(), {"log_reference": Draw(9).log_reference - 0.1}, ["sum to 1", "-0.0952"]),
        (vanilla(), {"domain": "sum_to_one"}, ["'simplex'"]),
        (vanilla(), {"domain": "simplx"}, ["did you mean 'simplex'"]),
        (vanilla(), {"method": "cvxp"}, ["did you mean 'cvxpy'"]),
        (vanilla(), {"prompt_weights": np.ones(2)}, ["prompt_weights", "(3,)", "(2,)"]),
        (vanilla(), {"prompt_weights": np.array([1.0, -1, 1])}, ["prompt_weights", "> 0"]),
        (vanilla(Budget(-0.1)), {}, ["eps", ">= 0", "-0.1"]),
        (reward_robust_policy(Budget(0.1, per_prompt=True)), {}, ["per_prompt"]),
        (reward_robust_policy(Budget(0.0)), {}, ["eps", "> 0"]),
        (replace(safe(1.0), strength=Budget(0.1)), {}, ["Budget(eps**2)"]),
        (covariance_aware(TargetKL(0.1)), {}, ["Penalty or Budget"]),
        (variance_unaware_theorem(TargetKL(0.1)), {"domain": "sum_to_one"}, ["has no KL"]),
        (variance_aware(), {"scores": Scores(Draw(9).scores.members[..., :1])}, ["at least 2"]),
        (vanilla(member=7), {}, ["index", "between 0 and 3"]),
        (Objective(PolicyWorstMix(), Variance(), "norm"), {}, ["penalised divergence"]),
    ],
)  # fmt: skip
def test_bad_input_is_explained(objective, changes, words, without_shape_annotations):
    with pytest.raises(InputError) as error:
        solve_draw(objective, **changes)
    for word in words:
        assert word in str(error.value), str(error.value)


@pytest.mark.parametrize("wrong", [0.0, -1.0])
def test_beta_must_be_positive(wrong):
    with pytest.raises(InputError, match="`beta` must be > 0"):
        Penalty(wrong)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_eps_must_be_finite(wrong):
    with pytest.raises(InputError, match="eps"):
        solve_draw(variance_aware_theorem(Budget(wrong)))


def test_unknown_forms_suggest_the_nearest(without_shape_annotations):
    with pytest.raises(InputError, match="did you mean 'bregman'"):
        Objective(form="bregmann")


def test_arrays_of_two_kinds_are_refused():
    draw = Draw(10)
    with pytest.raises(InputError, match="a mix of numpy and torch"):
        value(vanilla(), torch.tensor(draw.log_policy), draw.log_reference, draw.scores)


@pytest.mark.parametrize(
    ("covariance", "word"),
    [(np.ones((5, 5)), "smallest eigenvalue"), (np.eye(5) + np.eye(5, k=1), "symmetric")],
)
def test_singular_and_asymmetric_covariances_are_refused(covariance, word):
    draw = Draw(11)
    with pytest.raises(InputError, match=word):
        Scores(draw.scores.members, known_covariance=np.stack([covariance] * 3))
    with pytest.raises(InputError, match="ledoit_wolf"):
        solve(covariance_aware(method="sample"), draw.log_reference, draw.scores)


RATED = np.random.default_rng(1).normal(size=(3, 5, 4))
EVEN = np.full((3, 5), -np.log(5))


@pytest.mark.parametrize("strength", [Penalty, Budget, TargetKL])
@pytest.mark.parametrize(
    "value",
    ["0.1", "", b"1", None, 1j, (0.1,), [0.3], [], {}, np.array([0.1, 0.2]), np.ones((1, 1)),
     10**400, -(10**400), object(), np.ma.masked, np.datetime64("2020"), np.array(["a"]), len],
)  # fmt: skip
@pytest.mark.usefixtures("without_shape_annotations")
def test_a_strength_is_one_number(strength, value):
    with pytest.raises(InputError, match=r"`(beta|eps|kl)` must be"):
        strength(value)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.array])
@pytest.mark.usefixtures("without_shape_annotations")
def test_numbers_of_numpy_are_those_of_python(kind):
    found = solve(ensemble_mean(Penalty(kind(2))), EVEN, Scores(RATED))
    expected = solve(ensemble_mean(Penalty(2.0)), EVEN, Scores(RATED))
    np.testing.assert_array_equal(found.policy, expected.policy)


@pytest.mark.parametrize(
    "weights",
    [[np.inf, 1, 1], [np.nan, 1, 1], [-1, 1, 1], [0, 1, 1], [-1, -1, -1], list("abc"), [1j, 1, 1],
     [1, 1], [], [[1, 1, 1]], np.ma.masked_array([1, 1, 1], [0, 1, 0])],
)  # fmt: skip
@pytest.mark.parametrize("strength", [Penalty(0.3), Budget(0.3), TargetKL(0.3)], ids=repr)
@pytest.mark.usefixtures("without_shape_annotations")
def test_bad_weights_of_prompts_are_refused(weights, strength):
    with pytest.raises(InputError, match="`prompt_weights` must be"):
        solve(lcb(strength), EVEN, Scores(RATED), prompt_weights=np.ma.asarray(weights))
    if np.shape(weights) == (3,):
        with pytest.raises(InputError, match="`prompt_weights` must be"):
            bind(adaptive(), Scores(RATED), EVEN, prompt_weights=np.ma.asarray(weights))


@pytest.mark.parametrize("lam", [None, "a", 1j, [0.4], np.nan, 1.5])
@pytest.mark.usefixtures("without_shape_annotations")
def test_a_share_is_a_number(lam):
    with pytest.raises(InputError, match="`lam` must be"):
        reward_robust_policy(lam=lam)


@pytest.mark.parametrize("size", [1e-320, 1e-300, 1e300, 1.7e308])
@pytest.mark.parametrize("strength", [Penalty(0.3), Budget(0.3), TargetKL(0.3)], ids=repr)
def test_the_size_of_the_weights_of_prompts_is_of_no_consequence(size, strength):
    weights = np.full(3, size)
    found = solve(lcb(strength), EVEN, Scores(RATED), prompt_weights=weights)
    np.testing.assert_allclose(found.policy, solve(lcb(strength), EVEN, Scores(RATED)).policy)
    assert np.isfinite(found.kl)


@pytest.mark.usefixtures("without_shape_annotations")
def test_masked_entries_are_not_read():
    masked = np.ma.masked_array(RATED, RATED > 1)
    with pytest.raises(InputError, match="`members` must be without masked entries"):
        Scores(masked)
    with pytest.raises(InputError, match="`log_reference` must be without masked entries"):
        solve(ensemble_mean(0.1), np.ma.masked_array(EVEN, RATED[..., 0] > 0), Scores(RATED))
    with pytest.raises(InputError, match="without masked entries"):
        value(ensemble_mean(0.1), np.ma.masked_array(EVEN, RATED[..., 0] > 0), EVEN, Scores(RATED))
    assert Scores(np.ma.masked_array(RATED, RATED > 100)).k == 4


def test_noise_of_cvxpy_on_what_the_reference_lacks_is_no_infinite_kl():
    reference = np.array([[0.5, 0.5, 0.0]])
    members = np.array([[[1.0, 2.0, 1.5], [3.0, 2.5, 2.6], [1.0, 2.0, 1.5]]])
    with np.errstate(divide="ignore"):
        found = solve(covariance_aware(Penalty(0.5)), np.log(reference), Scores(members))
    assert found.policy[0, 2] == 0
    assert found.kl == pytest.approx(np.log(2), abs=1e-3)


@pytest.mark.parametrize("objective", [adaptive(), reward_robust_policy()], ids=repr)
def test_torch_binds_with_weights_of_torch_as_numpy_does(objective):
    weights, scores = np.array([0.2, 0.3, 0.5]), Scores(RATED)
    ours = bind(objective, scores, EVEN, prompt_weights=weights)
    tensors = Scores(torch.tensor(RATED))
    theirs = bind(
        objective, tensors, torch.tensor(EVEN), prompt_weights=torch.tensor(weights)
    ).binding.numpy()
    for name in objective.needs:
        found, expected = getattr(theirs, name), getattr(ours.binding, name)
        np.testing.assert_allclose(found, expected, atol=EXACT)
