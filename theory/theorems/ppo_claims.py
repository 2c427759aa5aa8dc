"""What PPO with the penalty of banerjee2024, sec. 5, converges to."""

import numpy as np

from theory.solvers.weighted_kl import tilt
from theory.theorems.claim import Finding, Trial, claim
from theory.theorems.evidence import all_agree, exact

PAPER = "banerjee2024"
TREE_REWARD = np.array([1.0, 0.0, 0.6, -0.2])
SIGMA = np.array([0.3, 2.0, 0.8, 1.2])
"""Of the four two-token responses 00, 01, 10, 11."""
FIRST = np.array([0, 0, 1, 1])
BETA = 0.5


def _ascend(gradient, reference: np.ndarray, rate: float, steps: int) -> np.ndarray:
    """Softmax policy gradient: logits move by pi (g - E g)."""
    logits = reference.copy()
    for _ in range(steps):
        log_policy = logits - np.log(np.exp(logits).sum())
        policy = np.exp(log_policy)
        slope = gradient(log_policy)
        logits = logits + rate * policy * (slope - policy @ slope)
    return np.exp(logits - np.log(np.exp(logits).sum()))


@claim(
    PAPER,
    "sec. 5, PPO",
    statement="PPO on r - beta sigma ln(pi/pi0) optimises E[r] - beta E[sigma ln(pi/pi0)].",
    verdict="false",
    corrected="With the reward detached its gradient is that of E[r] - beta B_sigma, the Bregman form; for "
    "constant sigma the two coincide.",
)
def detached_gradient(trial: Trial) -> Finding:
    """Enumerated policy gradient from pi0, detached and with the penalty's own derivative."""
    reward, sigma, beta = np.array([1.0, 0.2, 0.8, -0.5]), np.array([1.5, 0.6, 1.0, 1.2]), 0.5
    reference = np.log([0.4, 0.2, 0.3, 0.1])

    def detached(log_policy: np.ndarray) -> np.ndarray:
        return reward - beta * sigma * (log_policy - reference)

    def complete(log_policy: np.ndarray) -> np.ndarray:
        return detached(log_policy) - beta * sigma

    reached = _ascend(detached, reference, 2.0, 60_000)
    kl_optimum = np.exp(tilt(reward, beta * sigma, reference, "kl").log_policy)
    bregman = np.exp(tilt(reward, beta * sigma, reference, "bregman").log_policy)
    full = _ascend(complete, reference, 2.0, 60_000)
    evidence = tuple(
        exact(f"pi({arm + 1}) of the detached gradient", float(reached[arm]),
              printed=float(kl_optimum[arm]), corrected=float(bregman[arm]))
        for arm in range(4)
    )  # fmt: skip
    complete_agrees = bool(np.abs(full - kl_optimum).max() < 1e-6)
    return Finding(
        all_agree(list(evidence), "printed", 1e-5),
        complete_agrees and all_agree(list(evidence), "corrected", 1e-5),
        evidence,
    )


@claim(
    PAPER,
    "sec. 5, tokens",
    statement="Charging -beta sigma(x, y) ln(pi/pi0) token by token is the same as charging the response.",
    verdict="false",
    corrected="Reward-to-go drops earlier charges whose sigma depends on later tokens: charge the whole "
    "penalty on the last token, or use a prompt-level sigma.",
)
def per_token_penalty(trial: Trial) -> Finding:
    """Exact policy gradient of a two-token tree with a uniform reference."""
    reference = np.log(np.full(4, 0.25))
    optimum = np.exp(tilt(TREE_REWARD, BETA * SIGMA, reference, "bregman").log_policy)
    spread, last = _train(spread=True), _train(spread=False)
    constant = _train(spread=True, sigma=np.full(4, SIGMA.mean()))
    same = np.exp(
        tilt(TREE_REWARD, np.full(4, BETA * SIGMA.mean()), reference, "bregman").log_policy
    )
    evidence = (
        *(exact(f"pi({arm:02b}), spread over tokens", float(spread[arm]), printed=float(optimum[arm]))
          for arm in range(4)),
        *(exact(f"pi({arm:02b}), on the last token", float(last[arm]), corrected=float(optimum[arm]))
          for arm in range(4)),
        *(exact(f"pi({arm:02b}), spread, constant sigma", float(constant[arm]), corrected=float(same[arm]))
          for arm in range(4)),
    )  # fmt: skip
    return Finding(
        all_agree(list(evidence), "printed", 1e-3),
        all_agree(list(evidence), "corrected", 1e-5),
        evidence,
    )


def _train(*, spread: bool, sigma: np.ndarray = SIGMA) -> np.ndarray:
    """Ascend with reward-to-go; logits of the first token, and of the second after each first."""
    first, second = np.zeros(2), np.zeros((2, 2))
    for _ in range(20_000):
        p_first = np.exp(first) / np.exp(first).sum()
        p_second = np.exp(second) / np.exp(second).sum(1, keepdims=True)
        policy = (p_first[:, None] * p_second).ravel()
        log_first, log_second = np.log(p_first / 0.5)[FIRST], np.log(p_second / 0.5).ravel()
        early = -BETA * sigma * log_first
        late = TREE_REWARD - BETA * sigma * log_second
        after_second = late if spread else late + early  # what follows the second token
        to_go = (early + late) * policy
        value_first = to_go.reshape(2, 2).sum(1) / p_first
        first = first + p_first * (value_first - p_first @ value_first)
        tail = after_second.reshape(2, 2)
        advantage = tail - (p_second * tail).sum(1, keepdims=True)
        second = second + p_first[:, None] * p_second * advantage
    return policy
