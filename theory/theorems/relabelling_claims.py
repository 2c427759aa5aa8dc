"""Selection and relabelling in ugda2025, and statements about its tables."""

import numpy as np
from scipy import special

from theory.order_statistics import gaussian_max_mean
from theory.relabelling import quantile_targets, quantile_targets_as_printed, select, top_fraction
from theory.theorems.claim import Finding, Trial, claim
from theory.theorems.evidence import all_agree, compared, exact, frequency, sample_mean

PAPER = "ugda2025"
TABLE_1 = {
    "human": (24.9, 21.3, 19.8, 17.6, 16.4),
    "GPT-4": (23.6, 22.3, 18.8, 19.2, 16.1),
}
"""Shares in % of the labels 1 to 5."""


@claim(
    PAPER,
    "sec. 4.2",
    statement="Thresholds gamma = eta = .5 keep 25% of the samples.",
    verdict="true",
)
def selection_keeps_a_quarter(trial: Trial) -> Finding:
    """Untied variances and influences."""
    samples = 1000
    variance, influence = trial.rng("selection_keeps_a_quarter").standard_normal((2, samples))
    kept = select(variance**2, influence)
    return compared(exact("share kept", kept.size / samples, printed=0.25))


@claim(
    PAPER,
    "Eqs 2, 8 and 9",
    statement="The variance of the shaped rewards R_i measures the uncertainty of the reward models.",
    verdict="true",
)
def shaped_rewards_have_the_same_variance(trial: Trial) -> Finding:
    """R_i = r_i - beta ln(pi/pi_ref): the second term is the same for every member."""
    rng = trial.rng("shaped_rewards_have_the_same_variance")
    rewards, log_ratio = rng.standard_normal((50, 3)), rng.standard_normal((50, 1))
    shaped = (rewards - 0.2 * log_ratio).var(-1)
    return compared(
        *(exact(f"var of R, sample {i}", shaped[i], printed=rewards[i].var()) for i in range(3))
    )


@claim(
    PAPER,
    "secs 4.2 and 5.1",
    statement="Influence on several subtasks is their maximum (method), or their mean (experiments).",
    verdict="false",
    corrected="The two rules select different data: of independent influences on two subtasks, the "
    "top halves share 2 sqrt(2) - 2 = 83% of the samples.",
)
def maximum_or_mean_of_subtasks(trial: Trial) -> Finding:
    """Two independent standard normal influences; any symmetric law gives the same overlap."""
    rng = trial.rng("maximum_or_mean_of_subtasks")
    influence = rng.standard_normal((trial.draws, 2))
    by_maximum, by_mean = (
        set(top_fraction(score, 0.5).tolist()) for score in (influence.max(-1), influence.mean(-1))
    )
    shared = np.array([sample in by_mean for sample in by_maximum])
    overlap = 2 * 2**0.5 - 2
    return compared(
        frequency("share of the top half in common", shared, printed=1.0, corrected=overlap)
    )


@claim(
    PAPER,
    "Eq. 13",
    statement="The quantile at label/5 projects labels to the distribution of a member's scores.",
    verdict="false",
    corrected="Label 5 becomes the largest score, an outlier that grows with the sample, so targets "
    "are biased upward: by E max_N / 5 = .69 standard deviations for N = 2000 Gaussian "
    "scores and equal shares. Quantiles at mid-ranks have no such bias.",
)
def quantiles_of_labels(trial: Trial) -> Finding:
    """Mean target minus mean score over many samples of 2000 scores, for two label shares."""
    rng, samples = trial.rng("quantiles_of_labels"), 2000
    repeats = int(np.clip(trial.draws // 400, 100, 1000))
    scores = rng.standard_normal((samples, repeats))
    evidence = []
    for name, shares in (("equal", (20.0,) * 5), ("GPT-4", TABLE_1["GPT-4"])):
        counts = np.round(np.array(shares) / 100 * samples).astype(int)
        labels = np.repeat(np.arange(1, 6), counts)
        for rule, targets, levels in (
            ("label/5", quantile_targets_as_printed, np.arange(1, 6) / 5),
            ("mid-rank", quantile_targets, (np.cumsum(counts) - counts / 2) / samples),
        ):
            means = targets(scores, labels).mean(0)
            expected = np.where(levels < 1, special.ndtri(levels), gaussian_max_mean(samples))
            evidence.append(
                sample_mean(
                    f"mean target, {name} shares, {rule}",
                    means,
                    printed=0.0 if rule == "label/5" else None,
                    corrected=float(expected @ counts / samples),
                )
            )
    return compared(*evidence)


@claim(PAPER, "Table 1", statement="The label shares of either expert sum to 100%.", verdict="true")
def label_shares_sum(_: Trial) -> Finding:
    """Sums of the two rows."""
    return compared(
        *(exact(f"sum, {who}", sum(row), printed=100.0) for who, row in TABLE_1.items())
    )


AVERAGE_REWARD = {
    "Gemma-2B, helpful": (0.62, {"PPO": 0.62, "LCB": 0.59, "UWO": 0.56}),
    "Gemma-2B, harmless": (0.58, {"PPO": 0.59, "LCB": 0.53, "UWO": 0.58}),
    "Gemma-7B, helpful": (0.62, {"PPO": 0.64, "LCB": 0.70, "UWO": 0.73}),
    "Gemma-7B, harmless": (0.58, {"PPO": 0.74, "LCB": 0.73, "UWO": 0.80}),
}
"""Table 2 without augmentation: SFT, then the RLHF methods."""


@claim(
    PAPER,
    "sec. 5.3, Table 2",
    statement="All policies trained by RLHF significantly outperform SFT in average reward.",
    verdict="false",
    corrected="With the Gemma-2B reward model, LCB and UWO (helpful) and LCB (harmless) are below "
    "SFT, PPO (helpful) and UWO (harmless) equal it.",
)
def rlhf_beats_sft(_: Trial) -> Finding:
    """Smallest gain over SFT and the number of methods without one, by column."""
    evidence = tuple(
        exact(f"smallest gain over SFT, {column}", min(row.values()) - sft)
        for column, (sft, row) in AVERAGE_REWARD.items()
    )
    gains = {
        (column, method): round(value - sft, 2)
        for column, (sft, row) in AVERAGE_REWARD.items()
        for method, value in row.items()
    }
    below = exact("methods below SFT", sum(g < 0 for g in gains.values()), printed=0, corrected=3)
    level = exact("methods equal to SFT", sum(g == 0 for g in gains.values()), printed=0,
                  corrected=2)  # fmt: skip
    counted = [below, level]
    return Finding(
        all_agree(counted, "printed"), all_agree(counted, "corrected"), (*evidence, *counted)
    )
