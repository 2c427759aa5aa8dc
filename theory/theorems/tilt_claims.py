"""Theorem 3.6 of banerjee2024: the tilt by R / (beta S), and the strength that spends a budget."""

from typing import Any

import numpy as np

from theory.as_printed import sharpe_tilt_as_printed
from theory.divergences import divergence
from theory.solvers.weighted_kl import tilt
from theory.solvers.weighted_kl_strength import at_budget
from theory.theorems.claim import Finding, Trial, claim
from theory.theorems.evidence import agrees, compared, exact

PAPER = "banerjee2024"
PRINTED = "the optimum is pi0 exp(R / (beta S)) / Z"
HALF = np.log([0.5, 0.5])
BETAS = np.geomspace(1e-3, 1e3, 2001)
SHARE = np.linspace(1e-6, 1 - 1e-6, 200_001)
GRID = np.log(np.stack([SHARE, 1 - SHARE], -1))
"""All distributions over two responses, and their logarithms."""


def _objective(
    log_policy: np.ndarray, u: np.ndarray, cost: np.ndarray, reference: np.ndarray
) -> Any:
    """E u - sum cost pi ln(pi / pi0), by its definition."""
    policy = np.exp(log_policy)
    return (policy * u).sum(-1) - (cost * policy * (log_policy - reference)).sum(-1)


@claim(
    PAPER,
    "Thm 3.6, penalised",
    statement=f"{PRINTED} for max E R - beta E[S ln(pi/pi0)].",
    verdict="false",
    corrected="pi = pi0 exp((R - nu)/(beta S) - 1), nu the root of sum pi = 1; the printed one is right "
    "only for S constant within a prompt.",
)
def thm36_penalised(trial: Trial) -> Finding:
    """pi0 = (.5, .5), R = (1, 0), S = (4, 1): the printed policy is worse than pi0."""
    reward, cost = np.array([1.0, 0.0]), np.array([4.0, 1.0])
    best = float(_objective(GRID, reward, cost, HALF).max())
    ours = tilt(reward, cost, HALF, "kl").log_policy
    printed = sharpe_tilt_as_printed(reward, cost, HALF, 1.0)
    family = np.array([sharpe_tilt_as_printed(reward, cost, HALF, float(b)) for b in BETAS])
    evidence = (
        exact(
            "optimal value, by a grid",
            best,
            printed=float(_objective(printed, reward, cost, HALF)),
            corrected=float(_objective(ours, reward, cost, HALF)),
        ),
        exact("value at pi0", float(_objective(HALF, reward, cost, HALF))),
        exact("best of the printed family over beta", _objective(family, reward, cost, HALF).max()),
    )
    return Finding(
        agrees(evidence[0], evidence[0].printed, 1e-6),
        agrees(evidence[0], evidence[0].corrected, 1e-6),
        evidence,
    )


@claim(
    PAPER,
    "Thm 3.6, for some beta",
    statement=f"{PRINTED} for max E R s.t. E[S ln(pi/pi0)] <= eps, with some beta.",
    verdict="false",
    corrected="The same exact form with the beta that spends eps; R=(-1,-2), S=(1,10): every printed "
    "policy is worse than pi0, although pi0 is feasible.",
)
def thm36_constrained(trial: Trial) -> Finding:
    """eps = .05, by a grid over the simplex."""
    reward, cost, eps = np.array([-1.0, -2.0]), np.array([1.0, 10.0]), 0.05
    feasible = divergence(GRID, cost, HALF, "kl") <= eps
    best = float((np.exp(GRID) @ reward)[feasible].max())
    solution = at_budget(reward[None], cost[None], HALF[None], "kl", eps)
    family = np.array([sharpe_tilt_as_printed(reward, cost, HALF, float(b)) for b in BETAS])
    evidence = exact(
        "largest feasible E R, by a grid",
        best,
        printed=float((np.exp(family) @ reward).max()),
        corrected=float(np.exp(solution.log_policy[0]) @ reward),
    )
    at_reference = exact("E R at pi0", float(reward.mean()))
    return Finding(
        agrees(evidence, evidence.printed, 1e-4),
        agrees(evidence, evidence.corrected, 1e-4),
        (evidence, at_reference),
    )


@claim(
    PAPER,
    "Thm 3.6, positive rewards",
    statement=f"{PRINTED}, at least for positive rewards.",
    verdict="false",
    corrected="pi0 uniform, R=(1,.9,0), S=(4,.25,1), eps=.1: 12.8% of the attainable gain is lost.",
)
def thm36_three_arms(trial: Trial) -> Finding:
    """Best feasible member of the printed family against the best of a random search."""
    reward, cost, eps = np.array([1.0, 0.9, 0.0]), np.array([4.0, 0.25, 1.0]), 0.1
    reference = np.log(np.full(3, 1 / 3))
    solution = at_budget(reward[None], cost[None], reference[None], "kl", eps)
    ours = float(np.exp(solution.log_policy[0]) @ reward)
    family = np.array([sharpe_tilt_as_printed(reward, cost, reference, float(b)) for b in BETAS])
    family_gain = (np.exp(family) @ reward)[divergence(family, cost, reference, "kl") <= eps].max()
    points = trial.rng("three arms").dirichlet(np.ones(3), size=max(trial.draws, 50_000))
    logs = np.log(np.maximum(points, 1e-300))
    found = (points @ reward)[divergence(logs, cost, reference, "kl") <= eps].max()
    gap = (ours - family_gain) / (ours - reward.mean())
    evidence = (
        exact(
            "largest feasible E R, random search",
            float(found),
            printed=float(family_gain),
            corrected=ours,
        ),
        exact("share of the gain that the printed family loses", float(gap)),
    )
    return Finding(bool(family_gain >= found - 1e-3), bool(0 <= ours - found <= 0.01), evidence)


@claim(
    PAPER,
    "Thm 3.6, shifts",
    statement=f"{PRINTED} for every R that fits the same preferences.",
    verdict="false",
    corrected="Preferences leave a shift of R free: the exact optimum does not move under R + c, the "
    "printed one goes from (.98,.02) at c=-5 to (.03,.97) at c=5.",
)
def thm36_shift(trial: Trial) -> Finding:
    """S = (4, 1), R = (1, 0) + c, the optimum by a grid."""
    cost = np.array([4.0, 1.0])
    evidence = []
    for c in (-5.0, 0.0, 5.0):
        reward = np.array([1.0, 0.0]) + c
        best = SHARE[_objective(GRID, reward, cost, HALF).argmax()]
        printed = np.exp(sharpe_tilt_as_printed(reward, cost, HALF, 1.0))[0]
        ours = np.exp(tilt(reward, cost, HALF, "kl").log_policy)[0]
        evidence.append(exact(f"pi(first), c={c:g}", best, printed=printed, corrected=ours))
    return compared(*evidence, tolerance=1e-5)


@claim(
    PAPER,
    "Thm 3.6, budgets",
    statement="Every budget eps > 0 is spent at some beta > 0.",
    verdict="true if",
    corrected="eps must lie between the least penalty, that of the optimum for R = 0, and the penalty of "
    "the greedy policy; beta = 0 from there on. The penalty is minus the slope of the optimal value in "
    "beta, so that it never rises with beta.",
)
def budgets_have_a_strength(trial: Trial) -> Finding:
    """R = (1, 0), S = (4, 1): the greedy policy costs 4 ln 2 = 2.77; optima by a grid."""
    reward, cost = np.array([1.0, 0.0]), np.array([4.0, 1.0])
    paid = divergence(GRID, cost, HALF, "kl")
    gain = np.exp(GRID) @ reward
    evidence = [exact("least penalty", paid.min(), corrected=_spent(reward, cost, -1.0))]
    for eps in (0.5, 2.0, 3.0):
        best = np.where(paid <= eps, gain, -np.inf).argmax()
        evidence.append(
            exact(f"penalty paid, eps={eps:g}", paid[best], printed=eps,
                  corrected=_spent(reward, cost, eps))
        )  # fmt: skip
    step = 1e-3
    values = [(gain - beta * paid).max() for beta in (1 - step, 1 + step)]
    at_one = tilt(reward, cost, HALF, "kl").log_policy
    evidence.append(
        exact("minus the slope of the value at beta=1", (values[0] - values[1]) / (2 * step),
              corrected=float(divergence(at_one, cost, HALF, "kl")))
    )  # fmt: skip
    return compared(*evidence, tolerance=1e-4)


def _spent(reward: np.ndarray, cost: np.ndarray, eps: float) -> float:
    """Penalty of the optimum under a budget; the least one where the budget cannot be met."""
    return float(at_budget(reward[None], cost[None], HALF[None], "kl", eps).penalty)
