"""The Bayesian reward model ensemble of rewardrobust2024: its losses and its standard deviation."""

import numpy as np
from scipy import special

from theory.intervals import mean_interval
from theory.preferences import preference_loss
from theory.theorems.claim import Evidence, Finding, Trial, claim
from theory.theorems.evidence import (
    ALPHA,
    all_agree,
    at_least,
    compared,
    exact,
    sample_mean,
    sample_sd,
)

PAPER = "rewardrobust2024"


@claim(
    PAPER,
    "App. B.1",
    statement="The expected gradient of the squared loss in sigma is >= 0, so training lowers the "
    "standard deviation of a head.",
    verdict="true if",
    corrected="It is 2 sigma: >= 0 where sigma >= 0, which a linear head output does not ensure; "
    "sigma tends to 0 from either side.",
)
def brme_sigma_gradient(trial: Trial) -> Finding:
    """2a (mu + a sigma - t) over standard normal a, at a positive and a negative sigma."""
    a = trial.rng("brme_sigma_gradient").standard_normal(trial.draws)
    mean, target = 0.7, 0.4
    evidence = tuple(
        sample_mean(
            f"E gradient, sigma={sigma}", 2 * a * (mean + a * sigma - target), corrected=2 * sigma
        )
        for sigma in (0.5, -0.5)
    )
    printed = all(at_least(entry, 0.0) for entry in evidence)
    return Finding(printed, all_agree(list(evidence), "corrected"), evidence)


@claim(
    PAPER,
    "sec. 5.1, App. B.1",
    statement="The squared loss makes a head's sigma reflect how sure its reward is.",
    verdict="false",
    corrected="Its unique minimiser is sigma = 0 for every input, however noisy the targets; what "
    "is left of sigma tells initialisation and training time. The Gaussian log-likelihood "
    "has the targets' standard deviation as optimum.",
)
def brme_sigma_is_confidence(trial: Trial) -> Finding:
    """The squared loss of mu + a sigma is a regression of the targets on independent noise a."""
    rng, evidence = trial.rng("brme_sigma_is_confidence"), list[Evidence]()
    for noise in (0.5, 2.0):
        a, errors = rng.standard_normal((2, trial.draws))
        targets = 1.0 + noise * errors
        slope = float(a @ (targets - targets.mean()) / (a @ a))
        limits = mean_interval(slope, noise, trial.draws, ALPHA)
        name = f"target noise {noise}"
        evidence += [
            Evidence(f"sigma by the squared loss, {name}", slope, noise, 0.0, limits),
            sample_sd(f"sigma by the Gaussian likelihood, {name}", targets, corrected=noise),
        ]
    return compared(*evidence)


@claim(
    PAPER,
    "App. B.1",
    statement="For the rejected response too, the gradient in sigma is 2a (mu + a sigma - alpha k).",
    verdict="false",
    corrected="Its target in Eq. 8 is -alpha k: 2a (mu + a sigma + alpha k).",
)
def brme_rejected_gradient(_: Trial) -> Finding:
    """Central difference of Eq. 8, which is quadratic in sigma."""
    mean, sigma, a, alpha, win = 0.3, 0.8, 1.2, 2.0, 0.9

    def loss(sigma: float) -> float:
        return (mean + a * sigma - alpha * ((1 - win) - 0.5)) ** 2

    step, k = 0.5, win - 0.5
    return compared(
        exact(
            "gradient of the rejected term in sigma",
            (loss(sigma + step) - loss(sigma - step)) / (2 * step),
            printed=2 * a * (mean + a * sigma - alpha * k),
            corrected=2 * a * (mean + a * sigma + alpha * k),
        )
    )


@claim(
    PAPER,
    "Eq. 3",
    statement="The mean negative log-likelihood of the pairs is the sum of -ln sigmoid(margin).",
    verdict="false",
    corrected="It is their mean: 1/N is lost between the two sides (the minimiser is the same).",
)
def reward_loss_is_a_mean(trial: Trial) -> Finding:
    """100 pairs, the probabilities of Eq. 2 as they stand there."""
    chosen, rejected = trial.rng("reward_loss_is_a_mean").standard_normal((2, 100))
    wins = np.exp(chosen) / (np.exp(chosen) + np.exp(rejected))
    losses = preference_loss(chosen, rejected)
    return compared(
        exact(
            "mean negative log-likelihood",
            -np.log(wins).mean(),
            printed=losses.sum(),
            corrected=losses.mean(),
        )
    )


@claim(
    PAPER,
    "sec. 5.1",
    statement="The squared loss makes the scoring ranges of the heads consistent.",
    verdict="true",
)
def brme_ranges_are_consistent(trial: Trial) -> Finding:
    """Gradient descent of three heads, from distant starts, each on its own random pairs."""
    rng, alpha, responses = trial.rng("brme_ranges_are_consistent"), 4.0, 6
    reward = 3 * rng.standard_normal(responses)
    target = alpha * (special.expit(reward[:, None] - reward) - 0.5)
    evidence = []
    for head in range(3):
        shown, rival = rng.integers(responses, size=(2, max(trial.draws, 1000)))
        score = 10 * rng.standard_normal(responses)
        count = np.bincount(shown, minlength=responses)
        for _step in range(60):
            error = score[shown] - target[shown, rival]
            score = score - np.bincount(shown, error, minlength=responses) / (2 * count)
        for y in (0, responses - 1):
            seen = target[y, rival[shown == y]]
            limits = mean_interval(float(score[y]), float(seen.std()), seen.size, ALPHA)
            name = f"score of response {y} by head {head}"
            evidence.append(Evidence(name, float(score[y]), float(target[y].mean()), None, limits))
    return compared(*evidence)
