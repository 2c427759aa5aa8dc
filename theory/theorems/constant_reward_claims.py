"""Lemma 1 of rewardrobust2024 and its stochastic case: constant and random rewards."""

import numpy as np

from theory.divergences import kl
from theory.order_statistics import gaussian_max_std
from theory.policy_gradient import gae, masked_whiten
from theory.theorems.claim import Evidence, Finding, Trial, claim
from theory.theorems.evidence import agrees, all_agree, compared, exact, sample_mean, sample_sd

PAPER = "rewardrobust2024"


def _length_gradient(per_token: float, terminal: float, gamma: float) -> float:
    """PPO's gradient in the logit of 'continue' at 1/2, for episodes of one or two tokens."""
    mask = np.array([[True, False], [True, True]])
    rewards = np.where(mask, per_token, 0.0) + terminal * np.eye(2)
    returns = rewards[:, 0] + gamma * rewards[:, 1]
    values = np.array([returns.mean(), rewards[1, 1]]) * mask
    advantages = gae(rewards, values, gamma, 1.0, mask).advantages[:, 0]
    return float(np.array([-0.5, 0.5]) @ advantages / 2)


@claim(
    PAPER,
    "Lemma 1",
    statement="A reward that is constant over all actions makes the PPO gradient zero.",
    verdict="true if",
    corrected="It is zero if all episodes have the same length, or if a constant is paid at their "
    "end with gamma = 1; c a token lengthens episodes (c > 0) or shortens them (c < 0), and a "
    "discounted constant at the end shortens them.",
)
def constant_reward_has_no_gradient(_: Trial) -> Finding:
    """One token or two, by a coin: Q(continue) - Q(stop) is c, (gamma - 1) c or 0."""
    return compared(
        *(
            exact(
                f"gradient, {name}",
                _length_gradient(per_token, terminal, gamma),
                printed=0.0,
                corrected=difference / 4,
            )
            for name, per_token, terminal, gamma, difference in (
                ("1 a token", 1.0, 0.0, 1.0, 1.0),
                ("-1 a token", -1.0, 0.0, 1.0, -1.0),
                ("1 at the end, gamma=.99", 0.0, 1.0, 0.99, -0.01),
                ("1 at the end, gamma=1", 0.0, 1.0, 1.0, 0.0),
            )
        )
    )


TOKENS = 8
"""Length of the binary episodes below, all of which are enumerated."""


@claim(
    PAPER,
    "Lemma 1, App. E",
    statement="The advantage estimate of PPO is Q - V, which a constant return makes zero.",
    verdict="true if",
    corrected="With an imperfect critic the expected gradient is zero for GAE at lam = 1 only; "
    "lam < 1 adds (1 - lam) sum_l lam^(l-1) V_{t+l} to the return, a bias that whitened advantages "
    "keep however good the critic becomes.",
)
def imperfect_critic_has_a_gradient(trial: Trial) -> Finding:
    """All sequences of 8 fair coins, reward 1 at the end, critic 1 plus noise in each state."""
    rng = trial.rng("imperfect_critic_has_a_gradient")
    tokens = (np.arange(2**TOKENS)[:, None] >> np.arange(TOKENS)[::-1]) & 1
    steps = np.arange(TOKENS)
    state = 2**steps - 1 + (np.arange(2**TOKENS)[:, None] >> (TOKENS - steps))
    noise = rng.standard_normal(2**TOKENS - 1)
    rewards = np.broadcast_to(steps == TOKENS - 1, tokens.shape).astype(float)

    def gradient_norm(advantages: np.ndarray) -> float:
        weights = (tokens - 0.5) * advantages / 2**TOKENS
        return float(np.linalg.norm(np.bincount(state.ravel(), weights.ravel())))

    def bias(values: np.ndarray, lam: float) -> np.ndarray:
        later = np.arange(TOKENS) - steps[:, None]
        kernel = np.where(later > 0, (1 - lam) * lam ** np.maximum(later - 1, 0), 0.0)
        return values @ kernel.T

    evidence: list[Evidence] = []
    for error in (0.1, 0.001):
        values = 1 + error * noise[state]
        for lam in (1.0, 0.95):
            advantages = gae(rewards, values, 1.0, lam).advantages
            norm = gradient_norm(bias(values, lam))
            size = f"critic error {error}, lam={lam}"
            evidence.append(
                exact(f"|gradient|, {size}", gradient_norm(advantages), printed=0, corrected=norm)
            )
        white = gradient_norm(masked_whiten(advantages, eps=0.0))
        spread = float(advantages.std())
        evidence.append(
            exact(f"|gradient| whitened, {size}", white, printed=0, corrected=norm / spread)
        )
    return compared(*evidence)


@claim(
    PAPER,
    "Remark 1",
    statement="Under a constant reward the KL term finally pulls the actor back to the reference.",
    verdict="true",
)
def constant_reward_returns_to_reference(_: Trial) -> Finding:
    """Softmax policy gradient of c - beta ln(pi/pi0) from a distant start, tabular."""
    reference, logits = np.array([0.6, 0.3, 0.1]), np.array([-1.0, 0.0, 2.0])
    for _step in range(2000):
        policy = np.exp(logits) / np.exp(logits).sum()
        reward = 1.0 - 0.5 * np.log(policy / reference)
        logits = logits + 2.0 * policy * (reward - policy @ reward)
    policy = np.exp(logits) / np.exp(logits).sum()
    return compared(
        *(
            exact(f"pi({y}) after training", policy[y], printed=reference[y])
            for y in range(reference.size)
        )
    )


HEADS = 5
"""Heads of the paper's ensemble."""


@claim(
    PAPER,
    "sec. 6.2",
    statement="With random rewards, the minimum over the heads has a narrower range than one head.",
    verdict="true",
)
def minimum_narrows_the_range(trial: Trial) -> Finding:
    """sd(min of k standard normals) is the sd of the maximum, by quadrature."""
    scores = trial.rng("minimum_narrows_the_range").standard_normal((trial.draws, HEADS))
    lowest = sample_sd(
        "sd of the minimum of 5 heads", scores.min(-1), printed=gaussian_max_std(HEADS)
    )
    assert lowest.interval is not None
    holds = bool(lowest.interval.high < 1) and agrees(lowest, lowest.printed)
    return Finding(holds, holds, (lowest,))


@claim(
    PAPER,
    "sec. 6.2 and 6.3",
    statement="A narrower range of random rewards speaks for the minimum over the heads, rather than "
    "their mean or maximum.",
    verdict="false",
    corrected="The mean is always narrower (1/sqrt(k)) and the maximum exactly as narrow as the "
    "minimum; the policy trained on the mean stays closest to pi0.",
)
def minimum_is_the_stable_choice(trial: Trial) -> Finding:
    """8 responses with N(0, 1) scores from each head, beta = 1, uniform reference."""
    draws, responses = max(trial.draws // 10, 2), 8
    rng = trial.rng("minimum_is_the_stable_choice")
    scores = rng.standard_normal((draws, responses, HEADS))
    reference = np.full(responses, -np.log(responses))
    rewards = {
        "one head": scores[..., 0],
        "minimum": scores.min(-1),
        "maximum": scores.max(-1),
        "mean": scores.mean(-1),
    }
    widths = {"minimum": gaussian_max_std(HEADS), "maximum": gaussian_max_std(HEADS),
              "mean": HEADS**-0.5, "one head": 1.0}  # fmt: skip
    spread = [
        sample_sd(f"sd of the reward, {name}", reward[:, 0], corrected=widths[name])
        for name, reward in rewards.items()
    ]
    moved = {
        name: sample_mean(f"KL(pi || pi0), {name}", kl(_softmax(reward), reference))
        for name, reward in rewards.items()
    }
    closest = {name for name in moved if _below_all_others(name, moved)}
    corrected = closest == {"mean"} and all_agree(spread, "corrected")
    return Finding(closest == {"minimum"}, corrected, (*spread, *moved.values()))


def _below_all_others(name: str, entries: dict[str, Evidence]) -> bool:
    """Whether one interval lies below all others."""
    limits = {key: entry.interval for key, entry in entries.items() if entry.interval is not None}
    return all(limits[name].high < limits[key].low for key in entries if key != name)


def _softmax(reward: np.ndarray) -> np.ndarray:
    """ln of the optimal policy for a uniform reference and beta = 1."""
    return reward - np.log(np.exp(reward).sum(-1, keepdims=True))
