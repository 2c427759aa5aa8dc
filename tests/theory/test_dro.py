"""Robust utilities: against their dual, CVXPY, their limits and the known numbers."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar

from tests.theory.draws import scores, tables
from tests.tolerance import EXACT, FLOAT32, ROUNDING, VALUE, mc
from theory.dro import ChiSquareBall, ChiSquarePenalty, Entropic
from theory.errors import InputError
from theory.scores import Scores
from theory.utilities import LCB, UWO, Max, Mean, Min

FIVE = np.array([1.2, -0.3, 0.5, 2.0, 0.1])
SMALLEST_TAU = 1e-6
STRENGTHS = st.sampled_from([0.01, 0.1, 0.5, 1.0, 3.0, 30.0])


def of(utility, *rows):
    return float(utility(Scores(np.array(rows)))[0])


def penalty_dual(r, tau):
    """max_nu nu - sum (nu - r)_+^2 / (2 k tau) - tau / 2, at the root of its slope."""
    k = len(r)

    def slope(nu):
        return 1 - np.clip(nu - r, 0, None).sum() / (k * tau)

    nu = brentq(slope, r.min(), r.max() + tau * k, xtol=1e-14, rtol=1e-15)
    return nu - (np.clip(nu - r, 0, None) ** 2).sum() / (2 * k * tau) - tau / 2


def ball_dual(r, rho):
    """max over tau of the penalised value less tau rho / 2, which is concave in tau."""

    def loss(log_tau):
        tau = np.exp(log_tau)
        return tau * rho / 2 - penalty_dual(r, tau)

    return -minimize_scalar(
        loss, bounds=(np.log(SMALLEST_TAU), 12), method="bounded", options={"xatol": 1e-9}
    ).fun


@settings(max_examples=60)
@given(tables(), STRENGTHS)
def test_the_chi_square_penalty_attains_its_dual(members, tau):
    found = ChiSquarePenalty(tau)(Scores(members)).ravel()
    dual = [penalty_dual(r, tau) for r in members.reshape(-1, members.shape[-1])]
    np.testing.assert_allclose(found, dual, atol=ROUNDING)


@settings(max_examples=25)
@given(tables(), STRENGTHS)
def test_the_chi_square_ball_attains_its_dual(members, rho):
    rows = members.reshape(-1, members.shape[-1])[:4]
    found = ChiSquareBall(rho)(Scores(rows))
    dual = np.array([ball_dual(r, rho) for r in rows])
    assert (found >= dual - VALUE).all()
    # At the minimum the best tau is 0, where the search does not go.
    assert (found <= dual + VALUE + SMALLEST_TAU * rho).all()


@pytest.mark.parametrize("seed", range(4))
def test_cvxpy_finds_the_same_worst_mixture(seed):
    cvxpy = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(seed)
    r, k = rng.normal(size=4), 4
    q = cvxpy.Variable(k, nonneg=True)
    chi2 = k * cvxpy.sum_squares(q - 1 / k)
    kl = cvxpy.sum(cvxpy.rel_entr(q, np.full(k, 1 / k)))
    for utility, goal, limits in [
        (ChiSquarePenalty(0.4), r @ q + 0.2 * chi2, []),
        (ChiSquareBall(0.8), r @ q, [chi2 <= 0.8]),
        (Entropic(0.4), r @ q + 0.4 * kl, []),
    ]:
        problem = cvxpy.Problem(cvxpy.Minimize(goal), [cvxpy.sum(q) == 1, *limits])
        problem.solve(solver="CLARABEL")
        assert abs(of(utility, r) - problem.value) < VALUE, utility


@settings(max_examples=40)
@given(tables(), STRENGTHS, st.integers(0, 99))
def test_no_mixture_is_worse(members, strength, seed):
    k = members.shape[-1]
    q = np.random.default_rng(seed).dirichlet(np.full(k, 0.5))
    gain, chi2 = members @ q, k * ((q - 1 / k) ** 2).sum()
    kl = (q * np.log(np.maximum(q * k, 1e-300))).sum()
    table = Scores(members)
    assert (Entropic(strength)(table) <= gain + strength * kl + ROUNDING).all()
    assert (ChiSquarePenalty(strength)(table) <= gain + strength / 2 * chi2 + ROUNDING).all()
    assert (ChiSquareBall(chi2)(table) <= gain + ROUNDING).all()


@settings(max_examples=40)
@given(tables(), st.tuples(STRENGTHS, STRENGTHS).map(sorted))
def test_between_the_minimum_and_the_mean_and_monotone_in_the_strength(members, strengths):
    table, (low, high) = Scores(members), strengths
    for family, sign in ((Entropic, 1), (ChiSquarePenalty, 1), (ChiSquareBall, -1)):
        weak, strong = family(low)(table), family(high)(table)
        assert (sign * (strong - weak) >= -ROUNDING).all()
        for value in (weak, strong):
            assert (value >= Min()(table) - ROUNDING).all()
            assert (value <= Mean()(table) + ROUNDING).all()


@settings(max_examples=40)
@given(tables(), STRENGTHS)
def test_limits(members, t):
    table, k = Scores(members), members.shape[-1]
    mean, variance, worst = table.mean(), table.var(0), Min()(table)
    # log-mean-exp: between its tangent and the Hoeffding bound; and from below at one member.
    span = Max()(table) - worst
    assert (Entropic(t)(table) >= mean - span**2 / (8 * t) - ROUNDING).all()
    assert (Entropic(t)(table) <= worst + t * np.log(k) + ROUNDING).all()
    assert (ChiSquarePenalty(t)(table) >= mean - variance / (2 * t) - ROUNDING).all()
    assert (ChiSquarePenalty(t)(table) <= worst + t / 2 * (k - 1) + ROUNDING).all()
    np.testing.assert_allclose(ChiSquareBall(k - 1.0)(table), worst, atol=ROUNDING)
    np.testing.assert_allclose(ChiSquareBall(0.0)(table), mean, atol=ROUNDING)
    np.testing.assert_allclose(Entropic(1e-10)(table), worst, atol=ROUNDING)
    np.testing.assert_allclose(ChiSquarePenalty(1e-10)(table), worst, atol=ROUNDING)


@settings(max_examples=60)
@given(tables())
def test_bounds_by_moments_are_exact_inside_their_range_only(members):
    for r in members.reshape(-1, members.shape[-1]):
        above, std = r.max() - r.mean(), r.std()
        if above < VALUE:
            continue
        for tau in (above, 2 * above):
            assert abs(of(ChiSquarePenalty(tau), r) - of(UWO(1 / (2 * tau), 0), r)) < ROUNDING
        rho = (std / above) ** 2
        for inside in (rho, rho / 2):
            assert abs(of(ChiSquareBall(inside), r) - of(LCB(inside**0.5, 0), r)) < ROUNDING
        assert of(UWO(2 / above, 0), r) < of(ChiSquarePenalty(above / 4), r)
        assert of(LCB((4 * rho) ** 0.5, 0), r) <= of(ChiSquareBall(4 * rho), r) + ROUNDING


def test_known_numbers():
    for utility, number in [
        (ChiSquarePenalty(2.0), 0.5330), (UWO(1 / 4, ddof=0), 0.5330),
        (ChiSquarePenalty(0.5), 0.2027), (UWO(1.0, ddof=0), 0.0320),
        (ChiSquareBall(1.0), -0.0461), (LCB(1.0, ddof=0), -0.1173),
        (Entropic(0.5), 0.2362),
    ]:  # fmt: skip
        assert round(of(utility, FIVE), 4) == number, utility
    for utility in (ChiSquareBall(0.3), LCB(0.3**0.5, ddof=0)):
        assert round(of(utility, FIVE), 5) == 0.25234


def test_entropic_is_the_cumulant_series():
    """mean - var / 2t + third cumulant / 6t^2, with an error of order t^-3."""
    third = ((FIVE - FIVE.mean()) ** 3).mean()

    def error(t):
        return of(Entropic(t), FIVE) - (FIVE.mean() - FIVE.var() / (2 * t) + third / (6 * t**2))

    assert 7 < error(100) / error(200) < 9
    assert round(FIVE.mean() - FIVE.var(), 4) == 0.0320


def test_entropic_of_normal_scores_is_the_quadratic_one():
    rng, n, mean, std, t = np.random.default_rng(0), 400_000, 0.1, 0.5, 0.8
    r = rng.normal(mean, std, n)
    weights = np.exp(-r / t)
    error = t * mc(weights.std(), n) / weights.mean()
    assert abs(of(Entropic(t), r) - (mean - std**2 / (2 * t))) < error


@pytest.mark.parametrize("k", range(2, 13))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_ball_that_just_holds_the_tied_worst_members(k, dtype):
    """rho = k / j - 1 lets q rest on j members: rounding must not make every support infeasible."""
    tolerance = EXACT if dtype is np.float64 else FLOAT32
    for tied in range(1, k):
        for top in (0.7, 1.0, 3.3, 1000.0):
            members = np.r_[np.zeros(tied), np.full(k - tied, top)].astype(dtype)
            assert abs(of(ChiSquareBall(k / tied - 1), members)) < tolerance * k * top


@pytest.mark.parametrize(
    "utility", [ChiSquarePenalty(1e-3), ChiSquarePenalty(1e-2), ChiSquareBall(0.7), Entropic(1e-2)]
)
def test_float32_scores_far_from_zero(utility):
    members = (100 + 0.01 * scores().members).astype(np.float32)
    here = utility(Scores(members))
    assert here.dtype == np.float32
    precise = utility(Scores(members.astype(np.float64)))
    np.testing.assert_allclose(here, precise, atol=FLOAT32)


@pytest.mark.parametrize("utility", [ChiSquarePenalty(0.4), ChiSquareBall(0.8), Entropic(0.4)])
def test_the_gradient_is_the_worst_mixture(utility):
    members = torch.tensor(scores().members, requires_grad=True)
    found = utility(Scores(members))
    found.sum().backward()
    q = members.grad.numpy()
    assert q.min() >= -EXACT
    np.testing.assert_allclose(q.sum(-1), 1, atol=ROUNDING)
    gain = (q * scores().members).sum(-1)
    k = q.shape[-1]
    chi2, kl = k * ((q - 1 / k) ** 2).sum(-1), (q * np.log(np.maximum(q * k, 1e-300))).sum(-1)
    cost = {ChiSquarePenalty: 0.2 * chi2, ChiSquareBall: 0.0, Entropic: 0.4 * kl}[type(utility)]
    np.testing.assert_allclose(gain + cost, found.detach().numpy(), atol=ROUNDING)
    if isinstance(utility, ChiSquareBall):
        assert chi2.max() <= utility.rho + ROUNDING


@pytest.mark.parametrize("utility", [ChiSquarePenalty(0.4), ChiSquareBall(0.8), Entropic(0.4)])
def test_a_single_member_is_itself(utility):
    assert abs(of(utility, [1.7]) - 1.7) < EXACT


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Entropic(0.0), "`temperature` must be > 0, got 0"),
        (lambda: Entropic(float("inf")), "`temperature` must be finite, got inf"),
        (lambda: ChiSquarePenalty(-1.0), "`tau` must be > 0, got -1"),
        (lambda: ChiSquarePenalty(float("nan")), "`tau` must be finite, got nan"),
        (lambda: ChiSquareBall(-0.1), "`rho` must be >= 0, got -0.1"),
        (lambda: ChiSquareBall(float("inf")), "`rho` must be finite, got inf"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make()
