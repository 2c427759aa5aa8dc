"""Conservative utilities read as worst cases over reweightings q of the ensemble's members."""

from collections.abc import Callable

import numpy as np

from theory.divergences import kl
from theory.dro import ChiSquareBall, ChiSquarePenalty, Entropic
from theory.scores import Scores
from theory.solvers.member_mix import member_mix, tilted
from theory.solvers.weighted_kl import tilt
from theory.theorems.claim import Finding, Trial, claim
from theory.theorems.evidence import agrees, all_agree, compared, exact, sample_mean
from theory.theorems.independent import constrained_maximum
from theory.utilities import LCB, UWO

SCORES = np.array([1.2, -0.3, 0.5, 2.0, 0.1])
"""Scores of one response by five members."""
TABLE = Scores(SCORES[None])
UNIFORM = np.full(SCORES.size, 1 / SCORES.size)
SOLVER = 1e-6
"""Agreement asked of a numerical optimiser."""


def _chi_square(q: np.ndarray) -> float:
    return float(SCORES.size * ((q - UNIFORM) ** 2).sum())


def _relative_entropy(q: np.ndarray) -> float:
    return float(q @ np.log(q / UNIFORM))


def _worst_case(distance: Callable[[np.ndarray], float], price: float) -> float:
    """min over q of E_q[r] + price * distance(q), by SLSQP."""

    def value(q: np.ndarray) -> float:
        return -float(q @ SCORES) - price * distance(q)

    return -value(constrained_maximum(value, UNIFORM, distribution=SCORES.size))


@claim(
    "coste2023",
    "UWO",
    statement="Read as a robust estimate, mean - lam var is the worst E_q[r] + chi2(q | u)/(4 lam) "
    "over the weights q of the members.",
    verdict="true if",
    corrected="Exactly for 1/(2 lam) >= max r - mean r (variance with 1/k); beyond it q would turn "
    "negative and the formula is more pessimistic than any weighting.",
)
def uwo_is_a_robust_mean(_: Trial) -> Finding:
    """SLSQP over q, inside the range (tau = 2) and outside (tau = .5)."""
    return compared(
        *(
            exact(
                f"worst case, lam={1 / (2 * tau)}",
                _worst_case(_chi_square, tau / 2),
                printed=float(UWO(1 / (2 * tau), ddof=0)(TABLE)[0]),
                corrected=float(ChiSquarePenalty(tau)(TABLE)[0]),
            )
            for tau in (2.0, 0.5)
        ),
        tolerance=SOLVER,
    )


@claim(
    "zhang2024",
    "sec. 3.2, LCB",
    statement="Read as a robust estimate, mean - beta std is the worst E_q[r] with chi2(q | u) <= "
    "beta^2 over the weights q of the members.",
    verdict="true if",
    corrected="Exactly for beta <= std/(max r - mean r) (std with 1/k); for larger beta it is more "
    "pessimistic and passes below the smallest member, as no weighting can.",
)
def lcb_is_a_robust_mean(_: Trial) -> Finding:
    """SLSQP over q, inside the range (beta^2 = .3) and outside (1 and 4)."""

    def worst(rho: float) -> float:
        weights = constrained_maximum(
            lambda q: float(-(q @ SCORES)),
            UNIFORM,
            distribution=SCORES.size,
            at_least_zero=lambda q: rho - _chi_square(q),
        )
        return float(weights @ SCORES)

    return compared(
        *(
            exact(
                f"worst case, beta^2={rho}",
                worst(rho),
                printed=float(LCB(rho**0.5, ddof=0)(TABLE)[0]),
                corrected=float(ChiSquareBall(rho)(TABLE)[0]),
            )
            for rho in (0.3, 1.0, 4.0)
        ),
        tolerance=SOLVER,
    )


@claim(
    "coste2023",
    "UWO",
    statement="Read as a robust estimate with a KL price t KL(q | u), the worst case is mean - "
    "var/(2t).",
    verdict="true if",
    corrected="For Gaussian members in the limit of many; in general it is -t ln mean exp(-r/t), "
    "with mean - var/(2t) as second order, and it lies between the smallest member (t -> 0) "
    "and the mean (t -> inf), monotone in t.",
)
def entropic_mean_is_quadratic(trial: Trial) -> Finding:
    """SLSQP over q for five members; the Gaussian limit by sampling."""
    evidence = [
        exact(
            f"worst case, t={t}",
            _worst_case(_relative_entropy, t),
            printed=float(UWO(1 / (2 * t), ddof=0)(TABLE)[0]),
            corrected=float(Entropic(t)(TABLE)[0]),
        )
        for t in (0.05, 0.5, 5.0, 500.0)
    ]
    values = [entry.observed for entry in evidence]
    ordered = SCORES.min() <= values[0] and values == sorted(values) and values[-1] <= SCORES.mean()
    t, sd = 1.0, 0.5
    gaussian = np.exp(
        -sd * trial.rng("entropic_mean_is_quadratic").standard_normal(trial.draws) / t
    )
    limit = np.exp(sd**2 / (2 * t**2))
    evidence.append(
        sample_mean("E exp(-r/t), Gaussian r", gaussian, printed=limit, corrected=limit)
    )
    corrected = bool(ordered) and all_agree(evidence, "corrected", SOLVER)
    return Finding(all_agree(evidence, "printed", SOLVER), corrected, tuple(evidence))


@claim(
    "rewardrobust2024",
    "Eq. 6 and sec. 6.3",
    statement="Read with a price t KL(w | u) on the weights of the heads, the worst case of Eq. 6 "
    "(t = 0) and the ensemble mean (t = inf) are the ends of one objective.",
    verdict="true",
)
def worst_case_and_mean_are_one_family(trial: Trial) -> Finding:
    """-t ln mean exp(-E[r_i]/t) - beta KL over policies by SLSQP, against the dual in w."""
    beta, n, k = 0.5, 4, 3
    members = trial.rng("worst_case_and_mean_are_one_family").standard_normal((n, k))
    reference = np.full(n, 1 / n)
    inner = tilted(np.full((1, n), beta), np.log(reference)[None], "kl")

    def dual(t: float) -> np.ndarray:
        mix = member_mix(np.zeros((1, n)), members[None], 0.0, inner, temperature=t)
        return np.exp(mix.log_policy[0])

    def distance(policy: np.ndarray) -> float:
        return beta * float(kl(np.log(policy), np.log(reference)))

    def smooth(x: np.ndarray, t: float) -> float:
        returns = x @ members
        return float(-t * np.log(np.exp(-returns / t).mean())) - distance(x)

    worst = constrained_maximum(
        lambda x: float(x[-1]) - distance(x[:-1]),
        np.append(reference, members.mean(0).min()),
        distribution=n,
        at_least_zero=lambda x: x[:-1] @ members - x[-1],
    )[:-1]
    between = constrained_maximum(lambda x: smooth(x, 0.3), reference, distribution=n)
    mean = np.exp(tilt(members.mean(-1), beta, np.log(reference)).log_policy)
    evidence = [
        exact(f"pi(0), {name}", found[0], printed=dual(t)[0])
        for name, found, t in (
            ("worst head", worst, 0.0),
            ("t=.3", between, 0.3),
            ("mean of heads", mean, np.inf),
        )
    ]
    ends = exact("pi(0), t=1e-4", dual(1e-4)[0], printed=dual(0.0)[0])
    close = agrees(ends, ends.printed, 1e-3) and bool(abs(dual(1e4) - mean).max() < 1e-3)
    holds = close and all_agree(evidence, "printed", 1e-5)
    return Finding(holds, holds, (*evidence, ends))
