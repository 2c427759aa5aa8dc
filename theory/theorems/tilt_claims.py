"""Theorem 3.6 of banerjee2024, its penalty, and what PPO with that penalty converges to."""

import numpy as np

from theory.as_printed import sharpe_tilt_as_printed
from theory.divergences import divergence, kl
from theory.solvers.weighted_kl import tilt
from theory.solvers.weighted_kl_strength import at_budget
from theory.theorems.claim import Evidence, Finding, Trial, claim
from theory.theorems.evidence import agrees, all_agree, exact

PAPER = "banerjee2024"
PRINTED = "the optimum is pi0 exp(R / (beta S)) / Z"
HALF = np.log([0.5, 0.5])
BETAS = np.geomspace(1e-3, 1e3, 2001)


def _objective(log_policy: np.ndarray, u: np.ndarray, cost: np.ndarray, reference: np.ndarray):
    """E u - sum cost pi ln(pi / pi0), by its definition."""
    policy = np.exp(log_policy)
    return (policy * u).sum(-1) - (cost * policy * (log_policy - reference)).sum(-1)


@claim(
    PAPER,
    "Thm 3.6, penalised",
    statement=f"{PRINTED} for max E R - beta E[S ln(pi/pi0)]",
    verdict="false",
    corrected="pi = pi0 exp((R - nu)/(beta S) - 1), nu the root of sum pi = 1; the printed one is right "
    "only for S constant within a prompt",
)
def thm36_penalised(trial: Trial) -> Finding:
    """pi0 = (.5, .5), R = (1, 0), S = (4, 1): the printed policy is worse than pi0."""
    reward, cost = np.array([1.0, 0.0]), np.array([4.0, 1.0])
    share = np.linspace(1e-6, 1 - 1e-6, 200_001)
    grid = np.log(np.stack([share, 1 - share], -1))
    best = float(_objective(grid, reward, cost, HALF).max())
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
    statement=f"{PRINTED} for max E R s.t. E[S ln(pi/pi0)] <= eps, with some beta",
    verdict="false",
    corrected="the same exact form with the beta that spends eps; R=(-1,-2), S=(1,10): every printed "
    "policy is worse than pi0, although pi0 is feasible",
)
def thm36_constrained(trial: Trial) -> Finding:
    """eps = .05, by a grid over the simplex."""
    reward, cost, eps = np.array([-1.0, -2.0]), np.array([1.0, 10.0]), 0.05
    share = np.linspace(1e-6, 1 - 1e-6, 200_001)
    grid = np.log(np.stack([share, 1 - share], -1))
    feasible = divergence(grid, cost, HALF, "kl") <= eps
    best = float((np.exp(grid) @ reward)[feasible].max())
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
    statement=f"{PRINTED}, at least for positive rewards",
    verdict="false",
    corrected="pi0 uniform, R=(1,.9,0), S=(4,.25,1), eps=.1: 12.8% of the attainable gain is lost",
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
    statement="the optimal policy depends on rewards only through what Bradley-Terry identifies",
    verdict="true if",
    corrected="the exact optimum does not move under R + c; the printed one goes from (.98,.02) at c=-5 to "
    "(.03,.97) at c=5",
)
def thm36_shift(trial: Trial) -> Finding:
    """S = (4, 1), R = (1, 0) + c."""
    cost = np.array([4.0, 1.0])
    evidence = []
    for c in (-5.0, 0.0, 5.0):
        reward = np.array([1.0, 0.0]) + c
        printed = np.exp(sharpe_tilt_as_printed(reward, cost, HALF, 1.0))[0]
        ours = np.exp(tilt(reward, cost, HALF, "kl").log_policy)[0]
        evidence.append(
            exact(f"pi(first), c={c:g}", float(ours), printed=float(printed), corrected=0.326690)
        )
    return Finding(
        all_agree(evidence, "printed", 1e-3),
        all_agree(evidence, "corrected", 1e-5),
        tuple(evidence),
    )


@claim(
    PAPER,
    "Thm 3.6, penalty",
    statement="E[S ln(pi/pi0)] measures the distance from pi0",
    verdict="false",
    corrected="it can be negative and is not smallest at pi0: it equals the Bregman divergence B_S plus "
    "E_pi S - E_pi0 S; B_S is >= 0 and zero only at pi0",
)
def weighted_kl_is_no_distance(trial: Trial) -> Finding:
    """R = 0: the weighted KL moves the policy, the Bregman form does not."""
    evidence: list[Evidence] = []
    for cost, least in (((4.0, 1.0), -0.38997), ((10.0, 1.0), -1.4606), ((100.0, 1.0), -17.996)):
        weights = np.array(cost)
        moved = tilt(np.zeros(2), weights, HALF, "kl").log_policy
        stayed = tilt(np.zeros(2), weights, HALF, "bregman").log_policy
        smallest = float(divergence(moved, weights, HALF, "kl"))
        evidence.append(exact(f"least penalty, S={cost}", smallest, printed=0.0, corrected=least))
        evidence.append(
            exact(
                "Bregman at its optimum",
                float(divergence(stayed, weights, HALF, "bregman")),
                corrected=0.0,
            )
        )
    rng = trial.rng("identity")
    first, second = np.log(rng.dirichlet(np.ones(4), size=(2, 500)))
    weights = rng.uniform(0.1, 5, (500, 4))
    difference = divergence(first, weights, second, "kl") - divergence(
        first, weights, second, "bregman"
    )
    drift = ((np.exp(first) - np.exp(second)) * weights).sum(-1)
    evidence.append(
        exact(
            "largest error of the identity", float(np.abs(difference - drift).max()), corrected=0.0
        )
    )
    return Finding(
        all_agree(evidence, "printed", 1e-4),
        all_agree(evidence, "corrected", 1e-4),
        tuple(evidence),
    )


@claim(
    PAPER,
    "sec. 5, matching",
    statement="policies are comparable at matched plain KL, found by tuning beta",
    verdict="true if",
    corrected="with a varying S plain KL is not monotone in beta, so a target can have several beta; the "
    "weighted penalty itself is monotone (minus the slope of a convex value)",
)
def plain_kl_not_monotone(trial: Trial) -> Finding:
    """R=(1,.95,0), S=(5,.02,1): KL .4078 at beta=.03, .4397 at .1, .3854 at .3."""
    reward, cost = np.array([1.0, 0.95, 0.0]), np.array([5.0, 0.02, 1.0])
    uniform = np.log(np.full(3, 1 / 3))
    betas = np.geomspace(0.01, 10, 400)
    policies = [tilt(reward, b * cost, uniform, "bregman").log_policy for b in betas]
    plain = np.array([float(kl(p, uniform)) for p in policies])
    weighted = np.array([float(divergence(p, cost, uniform, "bregman")) for p in policies])
    at = [
        float(kl(tilt(reward, b * cost, uniform, "bregman").log_policy, uniform))
        for b in (0.03, 0.1, 0.3)
    ]
    evidence = (
        *(exact(f"KL at beta={b}", k, corrected=c)
          for b, k, c in zip((0.03, 0.1, 0.3), at, (0.4078, 0.4397, 0.3854), strict=True)),
        exact("largest rise of plain KL with beta", float(np.diff(plain).max()), printed=0.0),
        exact("largest rise of the weighted penalty", float(np.diff(weighted).max())),
    )  # fmt: skip
    corrected = all_agree(list(evidence), "corrected", 1e-4) and np.diff(weighted).max() <= 1e-12
    return Finding(bool(np.diff(plain).max() <= 0), bool(corrected), evidence)
