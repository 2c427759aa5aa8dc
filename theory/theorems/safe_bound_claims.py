"""Theorem 2.2 and Equation 2 of banerjee2024: the radius of a safe improvement."""

from collections.abc import Callable

import numpy as np

from theory.cone import cone_intrinsic_volumes, cone_probability, simplex_cone
from theory.safe_bound import (
    ball_harm_probability,
    ball_probability,
    chosen_policy_harm_bound,
    sharp_bound,
    theorem_22_as_printed,
    theorem_22_inverted,
)
from theory.solvers.ellipsoid import steepest, worst_case
from theory.solvers.quadratic import simplex_budget, simplex_norm
from theory.theorems.claim import Finding, Trial, claim
from theory.theorems.evidence import agrees, all_agree, at_least, at_most, exact, frequency

PAPER = "banerjee2024"
BALLS = ((2, 0.1), (1, 2.0), (10, 5**0.5), (50, 6.0))
"""(n, beta) of balls around pi0 with r = 0, where the sharp bound is attained."""


def _on_balls(trial: Trial, bound: Callable[[int, float], float]) -> Finding:
    """With r = 0 and D a ball the event is |Z| <= b; `bound` is a claimed lower bound."""
    evidence = []
    for n, b in BALLS:
        squared = np.zeros(trial.draws)
        rng = trial.rng(f"balls {n}")
        for _ in range(n):
            squared += rng.standard_normal(trial.draws, dtype=np.float32) ** 2
        evidence.append(
            frequency(
                f"P(event), n={n}, b={b:.3g}",
                squared <= b**2,
                printed=bound(n, b),
                corrected=float(sharp_bound(n, b)),
            )
        )
    printed = all(at_least(e, bound(n, b)) for e, (n, b) in zip(evidence, BALLS, strict=True))
    return Finding(printed, all_agree(evidence, "corrected"), tuple(evidence))


@claim(
    PAPER,
    "Thm 2.2",
    statement="sup_D (R'd - b|d|_S) <= sup_D r'd with probability >= 1 - exp(-XA/b^2).",
    verdict="false",
    corrected="The probability is >= F_m(b^2), the chi-square cdf with m = dim span(D); "
    "attained for r constant and pi0 inside D.",
)
def thm22_printed(trial: Trial) -> Finding:
    """Bounds near 1 for small b, where the event is rare."""
    return _on_balls(trial, theorem_22_as_printed)


@claim(
    PAPER,
    "Thm 2.2, proof",
    statement="With the exponent of the proof, the probability is >= 1 - exp(-b^2/n).",
    verdict="false",
    corrected="Its tail lemma P(chi2_n > n t) <= exp(-t) holds only for large t (n >= 3) or small "
    "t (n = 1); F_n(b^2) holds for every b.",
)
def thm22_inverted(trial: Trial) -> Finding:
    """Too large for n = 1 at b = 2, and for n >= 3 up to b of about sqrt(n)."""
    return _on_balls(trial, theorem_22_inverted)


@claim(
    PAPER,
    "Thm 2.2, prompts",
    statement="For X prompts of A responses the probability is >= 1 - exp(-XA/b^2).",
    verdict="false",
    corrected="It is >= F_m(b^2) with m = X(A - 1), not XA: displacements sum to zero within each "
    "prompt.",
)
def thm22_prompts(trial: Trial) -> Finding:
    """X = 3 prompts, A = 4 responses, interior references, r constant within each prompt."""
    prompts, responses, b = 3, 4, 3.0
    rng = trial.rng("thm22 prompts")
    variances = rng.uniform(0.5, 2.0, (prompts, responses))
    noise = np.sqrt(variances) * rng.standard_normal((trial.draws, prompts, responses))
    _, squared = steepest(noise, np.broadcast_to(variances, noise.shape))
    cells = prompts * responses
    evidence = frequency(
        "P(event), X=3, A=4, b=3",
        np.sqrt(squared.sum(-1)) <= b,
        printed=theorem_22_as_printed(cells, b),
        corrected=float(sharp_bound(prompts * (responses - 1), b)),
    )
    cellwise = exact("F_m(b^2) with m = XA", float(sharp_bound(cells, b)))
    return Finding(
        at_least(evidence, theorem_22_as_printed(cells, b)),
        agrees(evidence, evidence.corrected) and not agrees(evidence, cellwise.observed),
        (evidence, cellwise),
    )


@claim(
    PAPER,
    "Thm 2.2, boundary",
    statement="The probability is >= 1 - exp(-XA/b^2), also with pi0 on the boundary.",
    verdict="false",
    corrected="With pi0 on the boundary of the simplex and r constant it is sum_k v_k F_k(b^2), v "
    "the intrinsic volumes of the cone of displacements: (1/3, 1/2, 1/6) at a vertex for n = 3.",
)
def thm22_cone_vertex(trial: Trial) -> Finding:
    """Projection of noise on the cone of displacements at a vertex, by its two rays."""
    n, b = 3, 1.0
    cone = simplex_cone(np.array([True, False, False]))
    volumes = cone_intrinsic_volumes(cone, np.ones(n))
    noise = trial.rng("thm22 cone").standard_normal((trial.draws, n))
    projected = _wedge_norm(noise, cone.rays)
    evidence = frequency(
        "P(event), n=3, b=1, pi0 a vertex",
        projected <= b,
        printed=theorem_22_as_printed(n, b),
        corrected=float(cone_probability(volumes, b)),
    )
    return Finding(
        at_least(evidence, theorem_22_as_printed(n, b)),
        agrees(evidence, evidence.corrected),
        (evidence,),
    )


def _wedge_norm(noise: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Length of the projection on {a u + b v, a, b >= 0}: inside, on a ray, or 0."""
    gram = rays @ rays.T
    weights = np.linalg.solve(gram, rays @ noise.T)
    inside = np.einsum("ij,ik,kj->j", weights, gram, weights)
    along = np.maximum(rays @ noise.T, 0) / np.sqrt(np.diag(gram))[:, None]
    return np.where((weights >= 0).all(0), np.sqrt(inside), along.max(0))


@claim(
    PAPER,
    "Thm 2.2, balls",
    statement="The probability is >= 1 - exp(-XA/b^2) whatever the true reward is.",
    verdict="false",
    corrected="F_n(b^2) is the bound for every reward; on a ball it is a noncentral chi-square probability that rises from F_n(b^2) to "
    "Phi(b) as |r|_{S^-1} grows.",
)
def thm22_ball(trial: Trial) -> Finding:
    """n = 5, b = 2: |Z + r| - b <= |r|."""
    n, b = 5, 2.0
    noise = trial.rng("thm22 ball").standard_normal((trial.draws, n))
    evidence = []
    for length in (0.0, 1.0, 3.0, 10.0):
        shifted = noise + length * np.eye(n)[0]
        evidence.append(
            frequency(
                f"P(event), |r|={length:g}",
                np.linalg.norm(shifted, axis=1) - b <= length,
                printed=theorem_22_as_printed(n, b),
                corrected=float(ball_probability(n, b, length)),
            )
        )
    printed = all(at_least(e, theorem_22_as_printed(n, b)) for e in evidence)
    bounded = all(at_least(e, float(sharp_bound(n, b))) for e in evidence)
    return Finding(printed, bounded and all_agree(evidence, "corrected"), tuple(evidence))


@claim(
    PAPER,
    "Thm 2.2, consequence",
    statement="The policy chosen by Eq. 2 is worse than pi0 with probability <= exp(-XA/b^2).",
    verdict="false",
    corrected="With probability <= 1 - F_m(b^2); on a ball P(harm) is an explicit integral.",
)
def safe_policy_harm(trial: Trial) -> Finding:
    """Ball of displacements, n = 5: the chosen d is along R where |R| > b, else 0."""
    n, length, radii = 5, 0.3, (1.0, 2.0, 3.0)
    noise = trial.rng("safe harm").standard_normal((trial.draws, n))
    estimate = noise + length * np.eye(n)[0]
    moved = np.linalg.norm(estimate, axis=1)
    evidence = [
        frequency(
            f"P(harm), n=5, |r|=0.3, b={b:g}",
            (moved > b) & (estimate[:, 0] < 0),
            printed=1 - theorem_22_as_printed(n, b),
            corrected=ball_harm_probability(n, b, length),
        )
        for b in radii
    ]
    pairs = list(zip(evidence, radii, strict=True))
    printed = all(at_most(e, 1 - theorem_22_as_printed(n, b)) for e, b in pairs)
    bounded = all(at_most(e, chosen_policy_harm_bound(n, b)) for e, b in pairs)
    return Finding(printed, bounded and all_agree(evidence, "corrected"), tuple(evidence))


@claim(
    PAPER,
    "Eq. 2 and 3",
    statement="Maximising R'd - b|d|_S leads to maximising R'pi under a bound on |pi - pi0|_S^2.",
    verdict="true if",
    corrected="On a compact convex set both have the same path of solutions, and Eq. 2 is the "
    "worst case over an ellipsoid of rewards; on a linear space its value is 0 or infinite.",
)
def eq2_path(trial: Trial) -> Finding:
    """Solve Eq. 2 on the simplex, then the constrained problem at the distance it reached."""
    rng = trial.rng("eq2")
    n, runs, b = 6, 50, 0.4
    utility, weight = rng.normal(size=(runs, n)), rng.uniform(0.2, 2.0, (runs, n))
    reference = rng.dirichlet(np.ones(n), size=runs)
    penalised = simplex_norm(utility, weight, reference, b).policy
    moved = penalised - reference
    reached = (weight * moved**2).sum(-1)
    constrained = simplex_budget(utility, weight, reference, reached).policy
    pessimistic, _ = worst_case(moved, utility, weight, b)
    gain = (utility * moved).sum(-1) - b * np.sqrt(reached)
    _, squared = steepest(utility, weight)
    free = np.where(np.sqrt(squared) <= b, 0.0, np.inf)
    evidence = (
        exact("largest difference of the policies", np.abs(penalised - constrained).max(),
              corrected=0.0),
        exact("largest difference to the worst case", np.abs(pessimistic - gain).max(),
              corrected=0.0),
        exact("share of unbounded problems without pi >= 0", np.isinf(free).mean(), printed=0.0),
    )  # fmt: skip
    return Finding(
        all_agree(list(evidence), "printed"), all_agree(list(evidence), "corrected", 1e-7), evidence
    )
