import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import multinomial

from tests.tolerance import EXACT, ROUNDING, VALUE, mc
from theory.errors import InputError
from theory.win_rates import (
    OUTCOMES,
    PRECISION,
    length_controlled_win_rate,
    win_rate,
    win_rate_interval,
)

PAIR = st.tuples(st.sampled_from([*OUTCOMES, np.nan]), st.integers(-40, 40))


def columns(pairs):
    return tuple(np.array(column, dtype=float) for column in zip(*pairs, strict=True))


def test_interval_holds_for_every_win_and_loss_probability():
    pairs, alpha = 9, 0.1
    counts = [(won, lost) for won in range(pairs + 1) for lost in range(pairs + 1 - won)]
    limits = [win_rate_interval(*both, pairs, alpha) for both in counts]
    table = np.array([(won, pairs - won - lost, lost) for won, lost in counts])
    for win in np.linspace(0, 1, 11):
        for lose in np.linspace(0, 1 - win, 7):
            law = multinomial.pmf(table, pairs, [win, 1 - win - lose, lose])
            covered = [(1 + win - lose) / 2 in limit for limit in limits]
            assert law[np.array(covered)].sum() >= 1 - alpha


def test_interval_of_certain_wins_is_not_a_point():
    low, high = win_rate_interval(10, 0, 10, 0.05)
    assert low < 0.9
    assert high == 1


@given(st.lists(PAIR, min_size=1, max_size=40))
def test_swapping_the_policies_mirrors_both_rates(pairs):
    outcomes, difference = columns(pairs)
    both = (
        (win_rate(outcomes), win_rate(1 - outcomes)),
        (
            length_controlled_win_rate(outcomes, difference),
            length_controlled_win_rate(1 - outcomes, -difference),
        ),
    )
    for one, other in both:
        np.testing.assert_allclose(one, 1 - other, atol=EXACT, equal_nan=True)


@given(st.lists(PAIR, min_size=2, max_size=40), st.randoms(use_true_random=False))
def test_rows_have_no_order(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    one, other = (length_controlled_win_rate(*columns(rows)) for rows in (pairs, shuffled))
    np.testing.assert_allclose(one, other, atol=ROUNDING, equal_nan=True)


@given(st.lists(PAIR, min_size=2, max_size=30).filter(lambda p: min(d for _, d in p) < 0))
def test_it_is_the_maximum_of_the_penalised_likelihood(pairs):
    outcomes, difference = columns(pairs)
    found = length_controlled_win_rate(outcomes, difference)
    if np.isnan(found):
        return
    judged = ~np.isnan(outcomes)
    y, d = outcomes[judged], difference[judged]
    length = np.tanh(d / d.std(ddof=1)) if d.any() else d

    def loss(w):
        margin = w[0] + w[1] * length
        fit = y * np.logaddexp(0, -margin) + (1 - y) * np.logaddexp(0, margin)
        return fit.sum() + PRECISION * (w @ w) / 2

    assert found == pytest.approx(expit(minimize(loss, np.zeros(2), tol=1e-10).x[0]), abs=1e-3)


def test_without_an_effect_of_length_it_is_the_win_rate():
    rng, pairs = np.random.default_rng(0), 4000
    outcomes = rng.choice(OUTCOMES, pairs, p=[0.5, 0.3, 0.2])
    difference = rng.normal(15, 40, pairs)
    controlled = length_controlled_win_rate(outcomes, difference)
    assert controlled == pytest.approx(0.65, abs=mc(outcomes.std() * 1.5, pairs))
    assert controlled == pytest.approx(win_rate(outcomes), abs=mc(outcomes.std(), pairs))
    same = length_controlled_win_rate(outcomes, np.zeros(pairs))
    assert same == pytest.approx(win_rate(outcomes), abs=VALUE * 10)


def test_wins_by_length_alone_are_taken_away():
    rng, pairs = np.random.default_rng(1), 4000
    difference = rng.normal(20, 30, pairs).round()
    judge = np.where(difference > 0, 1.0, np.where(difference < 0, 0.0, 0.5))
    noisy = (rng.random(pairs) < expit(difference / 20)).astype(float)
    assert win_rate(judge) > 0.7
    assert win_rate(noisy) > 0.6
    assert abs(length_controlled_win_rate(judge, difference) - 0.5) < 0.06
    assert abs(length_controlled_win_rate(noisy, difference) - 0.5) < mc(1.0, pairs)


def test_quality_is_found_under_an_effect_of_length():
    """The model's own data: sigmoid(a) comes back, although every win rate is below it."""
    rng, pairs = np.random.default_rng(2), 20_000
    difference = rng.normal(-20, 30, pairs)
    margin = 0.8 + 1.5 * np.tanh(difference / difference.std(ddof=1))
    outcomes = (rng.random(pairs) < expit(margin)).astype(float)
    assert win_rate(outcomes) < 0.58
    assert abs(length_controlled_win_rate(outcomes, difference) - expit(0.8)) < mc(0.6, pairs)


def test_it_says_nothing_where_lengths_never_meet():
    wins = np.ones(5)
    assert np.isnan(length_controlled_win_rate(wins, np.arange(1.0, 6.0)))
    assert np.isnan(length_controlled_win_rate(wins, -np.arange(1.0, 6.0)))
    assert np.isnan(length_controlled_win_rate(np.full(3, np.nan), np.zeros(3)))
    assert np.isnan(win_rate(np.full(3, np.nan)))
    assert 0.9 < length_controlled_win_rate(wins, np.array([-3.0, -1.0, 0.0, 1.0, 3.0])) < 1


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        (lambda: win_rate(np.array([0.3])), "outcomes"),
        (lambda: length_controlled_win_rate(np.array([2.0]), np.zeros(1)), "outcomes"),
        (lambda: length_controlled_win_rate(np.ones(1), np.array([np.nan])), "difference"),
        (lambda: length_controlled_win_rate(np.ones(1), np.zeros(1), precision=0.0), "precision"),
        (lambda: win_rate_interval(3, 3, 5, 0.1), "pairs"),
        (lambda: win_rate_interval(6, 0, 5, 0.1), "successes"),
    ],
)
def test_bad_input(wrong, argument):
    with pytest.raises(InputError, match=f"`{argument}`"):
        wrong()
