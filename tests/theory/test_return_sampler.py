"""The float32 kernel of both rules against exact displacements and exact laws."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tolerance import ALPHA, EXACT, FLOAT32, mc
from theory.errors import InputError
from theory.harm import harm_probability_aware, harm_probability_unaware
from theory.intervals import paired_difference
from theory.montecarlo import block_generator, normal_rows, simulate
from theory.return_law import aware_return, unaware_return
from theory.return_sampler import return_sampler
from theory.solvers import ellipsoid

DRAWS = 60_000
UNAWARE_EPS, AWARE_EPS = 1.0, 0.5
PROMPTS = [None, 1, 4]


def problem(seed, n, prompts):
    rng = np.random.default_rng(seed)
    reward, variances = rng.normal(0, 0.5, n), rng.uniform(0.5, 4, n)
    equalities = None if prompts is None else ellipsoid.prompt_sums(prompts, n // prompts)
    return SimpleNamespace(reward=reward, variances=variances, equalities=equalities)


def kernel(case, prompts):
    return return_sampler(
        case.reward,
        case.variances,
        unaware_eps=UNAWARE_EPS,
        aware_eps=AWARE_EPS,
        prompts=prompts,
    )


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from(PROMPTS), st.sampled_from([3, 5, 25]))
def test_each_draw_is_the_return_of_the_exact_displacement(seed, prompts, cells):
    case = problem(seed, cells * (prompts or 1), prompts)
    found = kernel(case, prompts)(block_generator([seed], 0), 50)
    z = normal_rows(block_generator([seed], 0), 50, len(case.reward)).astype(float)
    estimate = case.reward + np.sqrt(case.variances) * z
    metrics = {
        "unaware": (np.ones_like(case.variances), UNAWARE_EPS),
        "aware": (case.variances, AWARE_EPS),
    }
    for name, (metric, eps) in metrics.items():
        exact = ellipsoid.budget(estimate, metric, eps, equalities=case.equalities)
        largest = np.sqrt(eps * ellipsoid.steepest(case.reward, metric)[1]) + EXACT
        steady = exact.gain**2 > FLOAT32 * eps * (estimate**2 / metric).sum(-1)
        error = np.abs(found[name] - exact.d @ case.reward) / largest
        assert error[steady].max() <= 10 * FLOAT32


@pytest.mark.parametrize("prompts", PROMPTS)
def test_the_draws_follow_the_laws(prompts):
    case = problem(5, 40, prompts)
    found = simulate(kernel(case, prompts), DRAWS, rng=np.random.default_rng(5))
    arguments = (case.reward, case.variances)
    laws = {
        "unaware": unaware_return(*arguments, eps=UNAWARE_EPS, equalities=case.equalities),
        "aware": aware_return(*arguments, eps=AWARE_EPS, equalities=case.equalities),
    }
    harm = {
        "unaware_harm": harm_probability_unaware(*arguments, equalities=case.equalities),
        "aware_harm": harm_probability_aware(*arguments, equalities=case.equalities),
    }
    for name, law in laws.items():
        assert law.moments().mean in found.moments[name].interval(ALPHA)
        assert abs(found.moments[name].sd() / law.moments().sd - 1) <= mc(1.0, DRAWS)
    for name, probability in harm.items():
        assert probability in found.events[name].interval(ALPHA)


@pytest.mark.parametrize("prompts", PROMPTS)
def test_discordant_draws_are_those_of_the_pairing(prompts):
    case = problem(6, 40, prompts)
    events = simulate(kernel(case, prompts), DRAWS, rng=np.random.default_rng(6)).events
    first, second = (events[f"only_{name}_harm"].successes for name in ("unaware", "aware"))
    assert first - second == events["unaware_harm"].successes - events["aware_harm"].successes
    found = paired_difference(first, second, DRAWS, ALPHA)
    assert found.p_value <= ALPHA
    assert found.share.low > 0.5


def test_one_direction_earns_all_or_loses_all():
    """Two responses: float32 leaves nothing of R'A R when both estimates are near."""
    sampler = return_sampler(
        np.array([0.0, 1.0]), np.array([1.0, 3.0]), unaware_eps=1.0, aware_eps=1.0, prompts=1
    )
    columns = sampler(block_generator([0], 0), 400_000)
    for name in ("unaware", "aware"):
        size = np.abs(columns[name])
        assert np.isfinite(size).all()
        assert size.mean() >= (1 - FLOAT32) * size.max()
    np.testing.assert_array_equal(columns["unaware_harm"], columns["aware_harm"])


def test_equal_variances_make_the_rules_equal():
    case = problem(7, 30, 1)
    sampler = return_sampler(
        case.reward, np.full(30, 2.0), unaware_eps=1.0, aware_eps=2.0, prompts=1
    )
    columns = sampler(block_generator([0], 0), 1000)
    np.testing.assert_allclose(columns["aware"], columns["unaware"], atol=FLOAT32)


def test_a_shift_of_the_reward_changes_nothing():
    case = problem(8, 30, 1)
    shifted = SimpleNamespace(reward=case.reward + 1000, variances=case.variances)
    here, there = (kernel(c, 1)(block_generator([0], 0), 1000) for c in (case, shifted))
    np.testing.assert_allclose(here["aware"], there["aware"], atol=FLOAT32)


def sampler(reward=(0.0, 1.0, 2.0, 3.0), variances=(1.0,) * 4, **options):
    options = {"unaware_eps": 1.0, "aware_eps": 1.0, **options}
    return return_sampler(np.array(reward), np.array(variances), **options)


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        (lambda: sampler(reward=(0.0, 1.0, 2.0, np.nan)), "reward"),
        (lambda: sampler(reward=(0.0,) * 4), "reward"),
        (lambda: sampler(reward=(0.1,) * 4, prompts=1), "reward"),
        (lambda: sampler(reward=(0.1, 0.1, 0.7, 0.7), prompts=2), "reward"),
        (lambda: sampler(prompts=4), "reward"),
        (lambda: sampler(variances=(1.0, 1.0, 1.0, 0.0)), "variances"),
        (lambda: sampler(variances=(1.0, 1.0, 1.0, np.inf)), "variances"),
        (lambda: sampler(unaware_eps=0.0), "eps"),
        (lambda: sampler(aware_eps=-1.0), "eps"),
        (lambda: sampler(prompts=3), "prompts"),
        (lambda: sampler(prompts=0), "prompts"),
    ],
)
def test_bad_input(wrong, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        wrong()


@pytest.mark.usefixtures("without_shape_annotations")
def test_variances_of_another_length():
    with pytest.raises(InputError, match="`variances`"):
        sampler(variances=(1.0, 1.0, 1.0))
