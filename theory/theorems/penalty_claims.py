"""The weighted KL penalty of banerjee2024: whether it is a distance, and matching plain KL."""

from collections.abc import Callable

import numpy as np

from theory.divergences import divergence, kl
from theory.solvers.weighted_kl import tilt
from theory.theorems.claim import Evidence, Finding, Trial, claim
from theory.theorems.evidence import all_agree, compared, exact
from theory.theorems.independent import mirror_ascent
from theory.theorems.tilt_claims import GRID, HALF

PAPER = "banerjee2024"


def detached(utility: np.ndarray, price: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The reward u - c ln(pi/pi0) as policy gradients see it: its penalty is a number."""
    return lambda log_ratio: utility - price * log_ratio


@claim(
    PAPER,
    "Thm 3.6, penalty",
    statement="E[S ln(pi/pi0)] measures the distance from pi0.",
    verdict="false",
    corrected="It can be negative and is not smallest at pi0: it equals the Bregman divergence B_S plus "
    "E_pi S - E_pi0 S; B_S is >= 0 and zero only at pi0.",
)
def weighted_kl_is_no_distance(trial: Trial) -> Finding:
    """Smallest penalties by a grid: those of the optima for R = 0."""
    evidence: list[Evidence] = []
    for cost in ((4.0, 1.0), (10.0, 1.0), (100.0, 1.0)):
        weights = np.array(cost)
        for form, printed in (("kl", 0.0), ("bregman", None)):
            least = divergence(GRID, weights, HALF, form).min()
            optimum = tilt(np.zeros(2), weights, HALF, form).log_policy
            ours = float(divergence(optimum, weights, HALF, form))
            evidence.append(
                exact(f"least {form} penalty, S={cost}", least, printed=printed, corrected=ours)
            )
    rng = trial.rng("identity")
    first, second = np.log(rng.dirichlet(np.ones(4), size=(2, 500)))
    weights = rng.uniform(0.1, 5, (500, 4))
    forms = [divergence(first, weights, second, form) for form in ("kl", "bregman")]
    drift = ((np.exp(first) - np.exp(second)) * weights).sum(-1)
    error = np.abs(forms[0] - forms[1] - drift).max()
    evidence.append(exact("largest error of the identity", error, corrected=0.0))
    return compared(*evidence, tolerance=1e-7)


@claim(
    PAPER,
    "sec. 5, matching",
    statement="Policies are comparable at matched plain KL, found by tuning beta.",
    verdict="true if",
    corrected="With a varying S plain KL is not monotone in beta, so a target can have several beta; the "
    "weighted penalty itself is monotone (minus the slope of a convex value).",
)
def plain_kl_not_monotone(trial: Trial) -> Finding:
    """R=(1,.95,0), S=(5,.02,1): KL .4078 at beta=.03, .4397 at .1, .3854 at .3."""
    reward, cost = np.array([1.0, 0.95, 0.0]), np.array([5.0, 0.02, 1.0])
    uniform = np.full(3, 1 / 3)
    reference = np.log(uniform)

    def optimum(beta: float) -> np.ndarray:
        return tilt(reward, beta * cost, reference, "bregman").log_policy

    evidence = []
    for beta in (0.03, 0.1, 0.3):
        reached = mirror_ascent(
            detached(reward, beta * cost), uniform, uniform, rate=0.6, steps=20_000
        )
        evidence.append(
            exact(f"KL at beta={beta}, by ascent", float(kl(np.log(reached), reference)),
                  corrected=float(kl(optimum(beta), reference)))
        )  # fmt: skip
    policies = np.array([optimum(float(beta)) for beta in np.geomspace(0.01, 10, 400)])
    plain = float(np.diff(kl(policies, reference)).max())
    weighted = float(np.diff(divergence(policies, cost, reference, "bregman")).max())
    evidence += [
        exact("largest rise of plain KL with beta", plain, printed=0.0),
        exact("largest rise of the weighted penalty", weighted),
    ]
    corrected = all_agree(evidence, "corrected", 1e-6) and plain > 0 >= weighted - 1e-12
    return Finding(plain <= 0, corrected, tuple(evidence))
