"""Theorem 3.3 of banerjee2024: does the variance-aware policy underperform less often?"""

import math

import numpy as np
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import multivariate_normal

from theory.as_printed import aware_displacement_as_printed, unaware_displacement_as_printed
from theory.harm import (
    harm_probability,
    harm_probability_aware,
    harm_probability_unaware,
    kantorovich_bound,
)
from theory.solvers.ellipsoid import Equalities
from theory.solvers.quadratic import simplex_budget
from theory.theorems.claim import Evidence, Finding, Trial, claim
from theory.theorems.evidence import agrees, all_agree, exact, frequency

PAPER = "banerjee2024"
ORDER = "P(pi2'r <= pi0'r) <= P(pi1'r <= pi0'r) with eps~ = lambda_min(S) eps"


def _random_problem(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A reward and a full covariance."""
    factor = rng.normal(size=(n, n))
    return rng.normal(size=n) * 0.7, factor @ factor.T / n + 0.2 * np.eye(n)


def _ordering(trial: Trial, key: str, equalities: Equalities) -> Finding:
    """P1 and P2 by simulation and in closed form, and their order on many instances."""
    rng = trial.rng(key)
    evidence: list[Evidence] = []
    for n in (2, 4, 8):
        reward, covariance = _random_problem(rng, n)
        noise = rng.standard_normal((trial.draws, n)) @ np.linalg.cholesky(covariance).T
        for name, metric, law in (
            ("P1", np.eye(n), harm_probability_unaware),
            ("P2", covariance, harm_probability_aware),
        ):
            basis = np.eye(n) if equalities is None else np.linalg.svd(np.ones((1, n)))[2][1:]
            rule = basis.T @ np.linalg.inv(basis @ metric @ basis.T) @ basis
            gain = (reward + noise) @ (rule @ reward)
            exactly = law(reward, covariance, equalities=equalities)
            evidence.append(frequency(f"{name}, n={n}, full S", gain <= 0, corrected=exactly))
    excess = 0.0
    for _ in range(500):
        reward, covariance = _random_problem(rng, int(rng.integers(2, 9)))
        p1 = harm_probability_unaware(reward, covariance, equalities=equalities)
        p2 = harm_probability_aware(reward, covariance, equalities=equalities)
        excess = max(excess, float(p2 - p1))
    ordered = exact("largest P2 - P1 of 500 instances", excess, printed=0.0, corrected=0.0)
    holds = excess <= 1e-12
    return Finding(holds, holds and all_agree(evidence, "corrected"), (ordered, *evidence))


@claim(PAPER, "Thm 3.3, unconstrained", statement=f"{ORDER}, pi unconstrained.", verdict="true")
def thm33_unconstrained(trial: Trial) -> Finding:
    """Also for full covariances, which the paper does not claim."""
    return _ordering(trial, "thm33 unconstrained", None)


@claim(
    PAPER,
    "Thm 3.3, sum to one",
    statement=f"{ORDER}, with the printed formulas read as policies.",
    verdict="true if",
    corrected="The order holds under any linear equalities, with M = B(B'SB)^-1 B' in place of "
    "S^-1; the printed policies do not sum to one.",
)
def thm33_sum_to_one(trial: Trial) -> Finding:
    """Order under sum(d) = 0, and the sums of the printed displacements."""
    ordered = _ordering(trial, "thm33 sum to one", "sum")
    utility, variances = np.array([3.6, 1.8, 2.8]), np.array([4.0, 0.09, 0.09])
    d1 = unaware_displacement_as_printed(utility, 0.1)
    d2 = aware_displacement_as_printed(utility, variances, 0.009)
    sums = (
        exact("sum of the printed displacement d1", d1.sum(), printed=0.0),
        exact("sum of the printed displacement d2", d2.sum(), printed=0.0),
    )
    return Finding(
        all_agree(list(sums), "printed"), ordered.corrected_holds, (*sums, *ordered.evidence)
    )


@claim(
    PAPER,
    "Thm 3.3, proof",
    statement="|r|^2 <= sqrt(r'S^-1 r) sqrt(r'S r), so that z1 <= z2 for P_i = Phi(-z_i).",
    verdict="true",
    corrected="True, and more: no linear rule A has P(r'AR <= 0) below Phi(-z2), and z2 / z1 is at "
    "most (1 + kappa) / (2 sqrt(kappa)), kappa the condition number of S.",
)
def thm33_best_linear_rule(trial: Trial) -> Finding:
    """Random rules against S^-1, and the extreme reward of the Kantorovich inequality."""
    rng, kappa = trial.rng("best rule"), 100 / 3
    advantages, ratios = [], []
    for _ in range(500):
        reward, covariance = _random_problem(rng, 5)
        z1 = float(reward @ reward) / math.sqrt(reward @ covariance @ reward)
        z2 = math.sqrt(reward @ np.linalg.solve(covariance, reward))
        other = harm_probability(rng.normal(size=(5, 5)), reward, covariance)
        advantages.append(float(ndtr(-z2)) - other)
        ratios.append(float(z1 / z2))
    variances = np.array([1.0, kappa])
    extreme = 2 / math.sqrt(variances.sum()) / math.sqrt((1 / variances).sum())
    evidence = (
        exact("largest z1 / z2 of 500 problems", max(ratios)),
        exact("largest advantage of 500 other rules", max(advantages)),
        exact("z1 / z2 at r = (1, 1), kappa = 33.3", extreme, corrected=kantorovich_bound(kappa)),
    )
    best = max(advantages) <= 0 and agrees(evidence[2], evidence[2].corrected)
    return Finding(max(ratios) <= 1 + 1e-12, best, evidence)


def _simplex_harm(
    trial: Trial, key: str, reward: np.ndarray, variances: np.ndarray, reference: np.ndarray,
    eps: float, draws: int,
) -> list[Evidence]:  # fmt: skip
    """P1 and P2 of exact simplex solutions on common draws."""
    noise = trial.rng(key).standard_normal((draws, len(reward)))
    estimate = reward + np.sqrt(variances) * noise
    rules = (("P1", np.ones_like(variances), eps), ("P2", variances, eps * variances.min()))
    evidence = []
    for name, weight, budget in rules:
        policy = simplex_budget(estimate, weight, reference, budget).policy
        evidence.append(frequency(name, (policy - reference) @ reward <= 0))
    return evidence


def _reversed(evidence: list[Evidence], exact_values: tuple[float | None, float | None]) -> Finding:
    """The ordering is refuted when the whole interval of P2 lies above that of P1."""
    p1, p2 = (e._replace(corrected=x) for e, x in zip(evidence, exact_values, strict=True))
    assert p1.interval is not None
    assert p2.interval is not None
    refuted = p2.interval.low > p1.interval.high
    return Finding(not refuted, refuted and all_agree([p1, p2], "corrected"), (p1, p2))


@claim(
    PAPER,
    "Thm 3.3, simplex",
    statement=f"{ORDER}, pi a probability distribution.",
    verdict="false",
    corrected="True while pi >= 0 does not bind: eps <= min(pi0)^2 n/(n-1) suffices; reversed for "
    "n=3, pi0 uniform, r=(-.1,0,0), S=diag(1,1,.01), eps=1.",
)
def thm33_simplex(trial: Trial) -> Finding:
    """pi1 is the vertex of the best estimate; pi2 stays inside, where the sum-to-one law holds."""
    reward, variances = np.array([-0.1, 0.0, 0.0]), np.array([1.0, 1.0, 0.01])
    p1, _ = quad(
        lambda z: math.exp(-((z + 0.1) ** 2) / 2) / math.sqrt(2 * math.pi) * ndtr(z) * ndtr(10 * z),
        -12, 12,
    )  # fmt: skip
    p2 = harm_probability_aware(reward, variances)
    uniform = np.full(3, 1 / 3)
    evidence = _simplex_harm(trial, "simplex", reward, variances, uniform, 1.0, trial.draws)
    return _reversed(evidence, (p1, p2))


@claim(
    PAPER,
    "Thm 3.3, more responses",
    statement=f"{ORDER} on the simplex for n = 4.",
    verdict="false",
    corrected="Reversed for pi0 uniform, r=(-1,0,0,0), S=(4,4,4,.01), eps=1.",
)
def thm33_simplex_four(trial: Trial) -> Finding:
    """A second stored instance; pi2 leaves the interior there, so that no law is at hand."""
    reward, variances = np.array([-1.0, 0.0, 0.0, 0.0]), np.array([4.0, 4.0, 4.0, 0.01])
    uniform = np.full(4, 0.25)
    evidence = _simplex_harm(trial, "four", reward, variances, uniform, 1.0, trial.draws)
    return _reversed(evidence, (None, None))


@claim(
    PAPER,
    "Thm 3.3, small budgets",
    statement=f"{ORDER} on the simplex once eps is small enough.",
    verdict="true if",
    corrected="Only where pi0 > 0 everywhere: pi0=(0,.5,.5), r=(.2,.2,0), S=(12,.5,.3) reverses it "
    "however small eps is, with .2405 against .3863.",
)
def thm33_zero_mass(trial: Trial) -> Finding:
    """pi0 has a zero: pi >= 0 binds at every scale, so that small budgets share one answer."""
    reward, variances = np.array([0.2, 0.2, 0.0]), np.array([12.0, 0.5, 0.3])
    reference = np.array([0.0, 0.5, 0.5])
    evidence = _simplex_harm(trial, "zero", reward, variances, reference, 1e-6, trial.draws)
    exactly = [_zero_mass_harm(weight, reward, variances) for weight in (np.ones(3), variances)]
    return _reversed(evidence, (exactly[0], exactly[1]))


def _zero_mass_harm(weight: np.ndarray, reward: np.ndarray, variances: np.ndarray) -> float:
    """P(harm) at pi0 = (0, .5, .5) for a small budget, by the bivariate normal cdf.

    The steepest direction is M R while its first entry is >= 0, else sign(R2 - R3) (0, 1, -1).
    """
    rule = np.diag(1 / weight) - np.outer(1 / weight, 1 / weight) / (1 / weight).sum()
    inside = np.stack([-rule[0], reward @ rule])  # harm with both <= 0
    outside = np.stack([rule[0], np.array([0.0, 1.0, -1.0])])
    return float(
        sum(
            multivariate_normal(rows @ reward, (rows * variances) @ rows.T).cdf(np.zeros(2))
            for rows in (inside, outside)
        )
    )


@claim(
    PAPER,
    "Thm 3.3, singular S",
    statement=f"{ORDER} for every covariance.",
    verdict="true if",
    corrected="S must be positive definite: for S=diag(1,1,0) the budget eps~ is 0 and pi2 = pi0, so "
    "P2 = 1 (with '<=').",
)
def thm33_singular(trial: Trial) -> Finding:
    """lambda_min = 0."""
    reward, variances = np.array([1.0, 0.0, -1.0]), np.array([1.0, 1.0, 0.0])
    noise = np.sqrt(variances) * trial.rng("singular").standard_normal((trial.draws, 3))
    p1 = harm_probability_unaware(reward, variances)
    p2 = harm_probability_aware(reward, variances, allow_singular=True)
    centred = reward - reward.mean()
    unaware = frequency("P1", (reward + noise) @ centred <= 0, corrected=p1)
    gain = (reward + noise) @ centred
    step = np.sqrt(variances.min())  # eps~ = lambda_min eps shrinks the step to nothing
    aware = frequency("P2", step * gain <= 0, printed=p1, corrected=p2)
    return Finding(p2 <= p1, all_agree([unaware, aware], "corrected"), (unaware, aware))
