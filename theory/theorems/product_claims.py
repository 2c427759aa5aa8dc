"""The product of Gaussian experts of adaptive2024, up to its objective (Eq. 7)."""

import numpy as np
from scipy import stats

from theory.binding import Binding
from theory.divergences import kl
from theory.experts import ExpertMean
from theory.scores import Scores
from theory.solvers.weighted_kl import tilt
from theory.theorems.claim import Finding, Trial, claim
from theory.theorems.evidence import agrees, all_agree, compared, exact
from theory.theorems.independent import mirror_ascent

PAPER = "adaptive2024"
REFERENCE = np.array([0.4, 0.3, 0.2, 0.1])
MEAN = np.array([1.0, 0.0, 2.0, -0.5])
"""Rewards of the four responses on which the objectives are maximised."""


@claim(
    PAPER,
    "Eq. 3",
    statement="The integral of r N(r; mu1, s1) N(r; mu2, s2) is (s2 mu1 + s1 mu2)/(s1 + s2).",
    verdict="false",
    corrected="It is that times N(mu1; mu2, s1 + s2), since a product of densities is no density; "
    "the equation holds for the normalised product.",
)
def expected_reward_of_the_product(_: Trial) -> Finding:
    """mu = (2, -1), s = (1, 4), by the trapezoid rule."""
    (mu1, mu2), (s1, s2) = (2.0, -1.0), (1.0, 4.0)
    r = np.linspace(-40.0, 40.0, 8001)
    product = stats.norm.pdf(r, mu1, s1**0.5) * stats.norm.pdf(r, mu2, s2**0.5)
    mean = (s2 * mu1 + s1 * mu2) / (s1 + s2)
    scale = float(stats.norm.pdf(mu1, mu2, (s1 + s2) ** 0.5))
    integral = (r * product).sum() * (r[1] - r[0])
    return compared(
        exact("integral of r times the product", integral, printed=mean, corrected=scale * mean),
        exact("the same, normalised", (r @ product) / product.sum(), corrected=mean),
    )


@claim(
    PAPER,
    "Eq. 5",
    statement="With constant variances a and b the product objective is RLHF with lambda = a/b.",
    verdict="true",
)
def constant_variances_are_rlhf(_: Trial) -> Finding:
    """Mirror ascent on E[(b phi + a ln(ref/pi))/(a + b)] against the tilt exp(b phi / a)."""
    a, b = 0.6, 1.5
    found = mirror_ascent(
        lambda log_ratio: (b * MEAN - a * log_ratio) / (a + b), REFERENCE, REFERENCE, rate=2.0
    )
    expected = np.exp(tilt(MEAN, a / b, np.log(REFERENCE)).log_policy)
    return compared(*(exact(f"pi({y})", found[y], printed=expected[y]) for y in range(4)))


@claim(
    PAPER,
    "App. B.2 (Eq. 9) and B.4 (Eq. 12)",
    statement="After substitution the reward of a response is phi - (a/b) ln(ref/pi).",
    verdict="false",
    corrected="It is phi + (a/b) ln(ref/pi); the last lines, in terms of KL, have the sign right.",
)
def sign_of_the_log_ratio(_: Trial) -> Finding:
    """Eq. 3 with the moments of Eq. 4, times (a + b)/b, at one policy."""
    a, b, policy = 0.6, 1.5, np.array([0.1, 0.2, 0.3, 0.4])
    second = np.log(REFERENCE / policy)
    objective = policy @ ((b * MEAN + a * second) / (a + b)) * (a + b) / b
    return compared(
        exact(
            "objective",
            objective,
            printed=policy @ (MEAN - a / b * second),
            corrected=policy @ MEAN - a / b * float(kl(np.log(policy), np.log(REFERENCE))),
        )
    )


@claim(
    PAPER,
    "Eq. 7, KL coefficient",
    statement="The larger the variance s of the reward models, the more the objective holds the "
    "policy at the reference.",
    verdict="true",
)
def variance_strengthens_the_kl(_: Trial) -> Finding:
    """Mirror ascent on Eq. 7, prefactor included, against the tilt exp(b mu / s)."""
    b, evidence, distances = 1.0, [], []
    for s in (0.1, 1.0, 10.0, 1000.0):

        def reward(log_ratio: np.ndarray, s: float = s) -> np.ndarray:
            return b / (b + s) * (MEAN - s / b * log_ratio)

        found = mirror_ascent(reward, REFERENCE, REFERENCE, rate=0.5 * (b + s) / s)
        expected = np.exp(tilt(MEAN, s / b, np.log(REFERENCE)).log_policy)
        distances.append(float(kl(np.log(found), np.log(REFERENCE))))
        evidence.append(exact(f"pi(best), s/b={s / b:g}", found[2], printed=expected[2]))
        evidence.append(exact(f"KL from the reference, s/b={s / b:g}", distances[-1]))
    holds = bool(np.all(np.diff(distances) < 0)) and all_agree(evidence, "printed")
    return Finding(holds, holds, tuple(evidence))


@claim(
    PAPER,
    "Eq. 7, prefactor",
    statement="The prefactor b/(b + s) makes objective and gradient vanish as s grows, which stops "
    "training early.",
    verdict="false",
    corrected="The gradient is b/(b + s) grad E[mu] - s/(b + s) grad KL and tends to -grad KL, a "
    "pull back to the reference at full strength; with b = E[s]/lambda the prefactor is "
    "1/(1 + lambda s/E[s]), near 1 for the paper's lambda, and it never moves the "
    "optimum of a prompt.",
)
def prefactor_stops_training(_: Trial) -> Finding:
    """Central differences of Eq. 7 in the logits, at a policy far from the reference."""
    b, policy = 1.0, np.array([0.7, 0.1, 0.1, 0.1])

    def objective(logits: np.ndarray, s: float) -> float:
        log_policy = logits - np.log(np.exp(logits).sum())
        gain = np.exp(log_policy) @ MEAN
        return b / (b + s) * (gain - s / b * float(kl(log_policy, np.log(REFERENCE))))

    def slope(s: float) -> float:
        logits, step = np.log(policy), 1e-5
        ends = [
            [objective(logits + side, s) for side in (unit, -unit)] for unit in step * np.eye(4)
        ]
        return float(np.linalg.norm(np.diff(ends, axis=1)) / (2 * step))

    def centred(values: np.ndarray) -> np.ndarray:
        return policy * (values - policy @ values)

    gain, distance = centred(MEAN), centred(np.log(policy / REFERENCE))
    evidence = [
        exact(
            f"|gradient|, s/b={s / b:g}",
            slope(s),
            printed=b / (b + s) * slope(0.0),
            corrected=float(np.linalg.norm(b * gain - s * distance) / (b + s)),
        )
        for s in (0.001, 1.0, 1000.0, 1e6)
    ]
    pull = exact("|grad KL|, the limit", float(np.linalg.norm(distance)))
    variances = np.array([1.0, 4.0])
    scores = Scores.known(np.ones(2), np.sqrt(variances))
    shrunk = ExpertMean(0.005, "sample")(scores, Binding(mean_variance=np.ones(())))
    evidence += [
        exact(
            f"prefactor at s = {s:g} E[s], lambda = .005",
            (1 / 0.005) / (1 / 0.005 + s),
            corrected=float(factor),
        )
        for s, factor in zip(variances, shrunk, strict=True)
    ]
    strongest = evidence[3]
    vanishes = strongest.observed < 1e-3 * evidence[0].observed
    close = 1e-6
    limit = agrees(strongest, pull.observed, 10 * close)
    corrected = limit and all_agree(evidence, "corrected", close)
    return Finding(vanishes, corrected, (*evidence, pull))


@claim(
    PAPER,
    "sec. 5",
    statement="Scoring with five reward models costs 7% more time: 60 hours against 56.",
    verdict="true",
)
def cost_of_five_reward_models(_: Trial) -> Finding:
    """The ratio of the hours, to the printed precision."""
    return compared(exact("extra time in %", round(100 * (60 / 56 - 1)), printed=7.0))
