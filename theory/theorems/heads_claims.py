"""What the spread of parallel heads measures, and two remarks of banerjee2024."""

import numpy as np

from theory.theorems.claim import Finding, Trial, claim
from theory.theorems.evidence import agrees, exact

PAPER = "banerjee2024"
FEATURES, PAIRS, HEADS, RATE = 32, 2000, 10, 0.3


def _descend(heads: np.ndarray, gap: np.ndarray, weights: np.ndarray, steps: int) -> np.ndarray:
    """Gradient descent on the Bradley-Terry loss of every head; gap (pairs, features)."""
    for _ in range(steps):
        wins = 1 / (1 + np.exp(gap @ heads.T))
        heads = heads + RATE * ((weights * wins).T @ gap) / len(gap)
    return heads


@claim(
    PAPER,
    "sec. 4",
    statement="The variance over parallel heads on a frozen trunk measures the reward's uncertainty.",
    verdict="false",
    corrected="Heads on the same data converge to one minimiser: the spread of reward differences "
    "vanishes with training, while that of raw scores stays at its initial value in the directions "
    "pairs cannot see; bootstrap resamples (or a Laplace posterior) keep the sampling variance.",
)
def frozen_heads(trial: Trial) -> Finding:
    """Ten linear heads after 10, 100, 1000 steps; their last feature belongs to the prompt alone."""
    rng = trial.rng("frozen heads")
    gap = _preferred_gaps(rng)
    start = rng.normal(size=(HEADS, FEATURES + 1)) / np.sqrt(FEATURES)
    response, zero = rng.normal(size=(500, FEATURES)), np.zeros((500, 1))
    pairs, scores = np.hstack([response, zero]), np.hstack([response, zero + 1])
    ones = np.ones((PAIRS, HEADS))
    after, heads, done = {}, start, 0
    for steps in (10, 100, 1000):
        heads, done = _descend(heads, gap, ones, steps - done), steps
        after[steps] = _spread(heads, pairs)
    counts = rng.multinomial(PAIRS, np.full(PAIRS, 1 / PAIRS), size=HEADS).T
    bootstrap = _spread(_descend(start, gap, counts.astype(float), 1000), pairs)
    laplace = _laplace(heads[0, :-1], gap[:, :-1], response)
    evidence = (
        *(exact(f"variance of differences after {steps} steps", spread, printed=laplace)
          for steps, spread in after.items()),
        exact("variance of scores after 1000 steps", _spread(heads, scores), printed=laplace,
              corrected=float(start[:, -1].var(ddof=1))),
        exact("variance of differences, bootstrap heads", bootstrap),
        exact("variance of differences, Laplace posterior", laplace),
    )  # fmt: skip
    printed = abs(after[1000] / laplace - 1) < 0.5
    collapsed = after[1000] < 1e-3 * after[10] and agrees(evidence[3], evidence[3].corrected, 1e-4)
    return Finding(printed, collapsed and 0.5 < bootstrap / laplace < 2, evidence)


def _preferred_gaps(rng: np.random.Generator) -> np.ndarray:
    """Features of the preferred minus the other response; those of the prompt cancel."""
    truth = rng.normal(size=FEATURES) / np.sqrt(FEATURES)
    gap = rng.normal(size=(PAIRS, FEATURES))
    won = rng.random(PAIRS) < 1 / (1 + np.exp(-gap @ truth))
    return np.hstack([np.where(won[:, None], gap, -gap), np.zeros((PAIRS, 1))])


def _spread(heads: np.ndarray, features: np.ndarray) -> float:
    """Mean variance over heads."""
    return float((features @ heads.T).var(axis=1, ddof=1).mean())


def _laplace(head: np.ndarray, gap: np.ndarray, features: np.ndarray) -> float:
    """Mean posterior variance from the Fisher information of the pairs."""
    chance = 1 / (1 + np.exp(-gap @ head))
    information = (gap * (chance * (1 - chance))[:, None]).T @ gap
    return float(np.einsum("ij,jk,ik->i", features, np.linalg.inv(information), features).mean())


@claim(
    PAPER,
    "Thm 3.6, discussion",
    statement="R / sigma^2 is the Sharpe ratio of a response.",
    verdict="false",
    corrected="The Sharpe ratio is excess / sd; R / sigma^2 is the mean-variance weight. The link is "
    "P2 = Phi(-sqrt(r'S^-1 r)), whose argument is the largest Sharpe ratio of any combination.",
)
def sharpe_ratio(trial: Trial) -> Finding:
    """Sharpe ratio of w'R at w = S^-1 r against random combinations, and under a change of units."""
    rng = trial.rng("sharpe")
    reward, variances = np.array([1.0, 0.5, 0.2]), np.array([4.0, 1.0, 0.25])
    weights = rng.normal(size=(5000, 3))
    ratios = weights @ reward / np.sqrt((weights**2) @ variances)
    best = float(np.sqrt((reward**2 / variances).sum()))
    own = reward / variances
    attained = float(own @ reward / np.sqrt(own**2 @ variances))
    unit_change = float((10 * reward / (100 * variances))[0] / (reward / variances)[0])
    evidence = (
        exact("R / sigma^2 after rewards are multiplied by 10", unit_change, printed=1.0),
        exact("Sharpe ratio of the combination S^-1 r", attained, corrected=best),
        exact("largest of 5000 other combinations", ratios.max()),
    )
    return Finding(
        abs(unit_change - 1) < 1e-9, abs(attained - best) < 1e-12 and ratios.max() <= best, evidence
    )


@claim(
    PAPER,
    "Rem 2.3",
    statement="The l2 distance approximates the KL divergence.",
    verdict="true if",
    corrected="One-sided: KL >= |d|^2 / 2 and no converse; second order is sum d^2 / pi0 / 2.",
)
def l2_and_kl(trial: Trial) -> Finding:
    """A pair with a small l2 distance and a large KL, and the bound on random pairs."""
    pi, pi0 = np.array([0.9, 0.1]), np.array([1 - 1e-12, 1e-12])
    kl = float((pi * np.log(pi / pi0)).sum())
    squared = float(((pi - pi0) ** 2).sum())
    rng = trial.rng("l2 and kl")
    first, second = rng.dirichlet(np.full(5, 5.0), size=(2, 2000))
    slack = ((first * np.log(first / second)).sum(1) - ((first - second) ** 2).sum(1) / 2).min()
    near = second + 1e-4 * (first - second)
    small = (near * np.log(near / second)).sum(1) / (((near - second) ** 2) / second).sum(1) * 2
    evidence = (
        exact("KL of (.9, .1) from (1, 1e-12)", kl, printed=squared / 2),
        exact("least KL - |d|^2/2 of 2000 pairs", slack),
        exact("largest |KL / Fisher form - 1| of small steps", np.abs(small - 1).max()),
    )
    return Finding(
        abs(kl - squared / 2) < 0.1 * kl, slack >= 0 and np.abs(small - 1).max() < 0.05, evidence
    )
