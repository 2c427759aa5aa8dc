"""The ensembles of zhang2024: their size and predictions, and best-of-n sampling with them."""

import itertools
import math

import numpy as np

from theory.best_of_n import best_of_n_law, kl_upper_bound, win_rate
from theory.kl_estimators import exact_kl
from theory.order_statistics import c4, correlated_std, lcb_mean_std
from theory.theorems.claim import Finding, Trial, claim
from theory.theorems.evidence import all_agree, compared, exact, frequency, sample_mean, sample_sd

PAPER = "zhang2024"
MEMBERS = 3
"""Ensemble size of the experiments."""


Shape = tuple[int, ...]


def _llama_7b() -> list[Shape]:
    """Shapes of the weights of Llama-7B, output layer included."""
    width, hidden, vocabulary = 4096, 11008, 32000
    block: list[Shape] = [(width, width)] * 4 + [(width, hidden)] * 3 + [(width,)] * 2
    ends: list[Shape] = [(vocabulary, width), (vocabulary, width), (width,)]
    return block * 32 + ends


@claim(
    PAPER,
    "sec. 3.1",
    statement="k single models, a linear-layer ensemble and a LoRA ensemble hold k(M + L), M + kL "
    "and M + kL + kA parameters.",
    verdict="true",
)
def parameter_counts(_: Trial) -> Finding:
    """All tensors counted for Llama-7B, k = 3, LoRA of rank 8 on queries and values."""
    head: list[Shape] = [(4096, 1)]
    pair: list[Shape] = [(4096, 8), (8, 4096)]
    adapter = pair * 2 * 32

    def size(shapes: list[Shape]) -> int:
        return sum(math.prod(shape) for shape in shapes)

    trunk, k = _llama_7b(), MEMBERS
    big, linear, lora = size(trunk), 4096, 4_194_304
    return compared(
        exact("single models", size((trunk + head) * k), printed=k * (big + linear)),
        exact("linear-layer ensemble", size(trunk + head * k), printed=big + k * linear),
        exact("LoRA", size(trunk + (head + adapter) * k), printed=big + k * linear + k * lora),
    )


@claim(
    PAPER,
    "sec. 3.2",
    statement="The mean of the members inherently has a lower variance than one member.",
    verdict="true if",
    corrected="For errors of correlation rho the variance is rho + (1 - rho)/k: the same for rho = 1 "
    "and never below rho, however many members.",
)
def mean_has_lower_variance(trial: Trial) -> Finding:
    """Three unit-variance errors with a shared part of variance rho."""
    rng, evidence = trial.rng("mean_has_lower_variance"), []
    for rho in (0.0, 0.9, 1.0):
        shared, own = rng.standard_normal(trial.draws), rng.standard_normal((MEMBERS, trial.draws))
        mean = rho**0.5 * shared + (1 - rho) ** 0.5 * own.mean(0)
        std = correlated_std(MEMBERS**-0.5, rho)
        evidence.append(sample_sd(f"sd of the mean of 3, rho={rho}", mean, corrected=std))
    lower = all(e.interval is not None and e.interval.high < 1 for e in evidence)
    return Finding(lower, all_agree(evidence, "corrected"), tuple(evidence))


@claim(
    PAPER,
    "sec. 3.2",
    statement="Mean - beta std over the members is a conservative estimate of the reward.",
    verdict="true",
)
def lcb_is_conservative(trial: Trial) -> Finding:
    """Gaussian members: below the truth by beta c4(k), though noisier than the mean."""
    scores = trial.rng("lcb_is_conservative").standard_normal((trial.draws, MEMBERS))
    mean, std = scores.mean(-1), scores.std(-1, ddof=1)
    evidence = []
    for beta in (0.5, 1.0, 2.0):
        bound, exactly = mean - beta * std, lcb_mean_std(MEMBERS, beta)
        evidence += [
            sample_mean(f"E of LCB - truth, beta={beta}", bound, printed=exactly.mean),
            sample_sd(f"sd of LCB, beta={beta}", bound, printed=exactly.std),
        ]
    holds = all_agree(evidence, "printed") and all(
        e.interval is not None and e.interval.high < 0 for e in evidence[::2]
    )
    return Finding(holds, holds, tuple(evidence))


@claim(
    PAPER,
    "sec. 3.2, std",
    statement="beta determines the lower confidence bound mean - beta std.",
    verdict="true if",
    corrected="Only with the denominator of std: 1/k in place of 1/(k - 1) shrinks it by "
    "sqrt((k-1)/k), .816 at k = 3. With 1/k the minimum is LCB with beta = 1 for k = 2, and "
    "lies between beta = 1/sqrt(k-1) and sqrt(k-1) for k > 2.",
)
def lcb_needs_a_denominator(trial: Trial) -> Finding:
    """Mean shortfall under either denominator; the minimum between its two bounds."""
    rng = trial.rng("lcb_needs_a_denominator")
    scores = rng.standard_normal((trial.draws, MEMBERS))
    mean, std = scores.mean(-1), scores.std(-1)
    shortfalls = [
        sample_mean(
            f"E std, ddof={ddof}",
            scores.std(-1, ddof=ddof),
            printed=c4(MEMBERS),
            corrected=-lcb_mean_std(MEMBERS, 1.0, ddof=ddof).mean,
        )
        for ddof in (1, 0)
    ]
    lowest, slack = scores.min(-1), 1e-12
    outside = (lowest < mean - 2**0.5 * std - slack) | (lowest > mean - std / 2**0.5 + slack)
    pair = scores[:, :2]
    gap = np.abs(pair.min(-1) - pair.mean(-1) + pair.std(-1)).max()
    return compared(
        *shortfalls,
        exact("minima of 3 outside the bounds", int(outside.sum()), corrected=0.0),
        exact("largest |min - LCB| of pairs", gap, corrected=0.0),
    )


def _enumerated(reference: np.ndarray, reward: np.ndarray, n: int) -> np.ndarray:
    """The policy of best-of-n from all n-tuples of draws, ties broken uniformly."""
    policy = np.zeros_like(reference)
    for drawn in map(list, itertools.product(range(reference.size), repeat=n)):
        best = [y for y in drawn if reward[y] == reward[drawn].max()]
        np.add.at(policy, best, reference[drawn].prod() / len(best))
    return policy


CASES = (
    ((0.5, 0.5), (0.0, 1.0)),
    ((0.2, 0.3, 0.4, 0.1), (0.0, 1.0, 1.0, 2.0)),
)
"""References and rewards of discrete responses, the second with a tie."""


@claim(
    "gao2023",
    "best-of-n",
    statement="Best-of-n is at KL ln n - (n - 1)/n from the reference.",
    verdict="true if",
    corrected="For rewards without ties; in general it is sum q ln(q/g) over the reward levels, of "
    "mass g and kept with probability q = F^n - (F - g)^n, which is at most that and ends at "
    "ln(1/g) of the highest level.",
)
def best_of_n_kl(trial: Trial) -> Finding:
    """A continuous reward by sampling, discrete ones by enumeration; n = 4."""
    n, evidence = 4, []
    u = trial.rng("best_of_n_kl").random(trial.draws) ** (1 / n)
    bound = kl_upper_bound(n)
    continuous = np.log(n) + (n - 1) * np.log(u)
    evidence.append(sample_mean("KL, continuous", continuous, printed=bound, corrected=bound))
    for reference, reward in CASES:
        p, r = np.array(reference), np.array(reward)
        law = best_of_n_law(r, np.log(p), n)
        found = float(exact_kl(np.log(_enumerated(p, r, n)), np.log(p)))
        evidence.append(
            exact(f"KL, {p.size} responses", found, printed=bound, corrected=float(law.kl))
        )
    return compared(*evidence)


@claim(
    "beirami2024",
    "win rate",
    statement="Best-of-n beats one draw of the reference with probability n/(n + 1).",
    verdict="true if",
    corrected="For rewards without ties; with ties as halves it is sum q (F - g/2), which is smaller.",
)
def best_of_n_win_rate(trial: Trial) -> Finding:
    """The same rewards, n = 2."""
    n, evidence = 2, []
    rng = trial.rng("best_of_n_win_rate")
    wins = rng.random((trial.draws, n)).max(-1) > rng.random(trial.draws)
    rate = win_rate(n)
    evidence.append(frequency("win rate, continuous", wins, printed=rate, corrected=rate))
    for reference, reward in CASES:
        p, r = np.array(reference), np.array(reward)
        law = best_of_n_law(r, np.log(p), n)
        scored = (np.sign(r[:, None] - r) + 1) / 2
        found = float(_enumerated(p, r, n) @ scored @ p)
        evidence.append(
            exact(f"win rate, {p.size} responses", found, printed=rate,
                  corrected=float(law.win_rate))
        )  # fmt: skip
    return compared(*evidence)
