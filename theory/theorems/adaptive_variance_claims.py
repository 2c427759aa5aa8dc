"""What the variance in adaptive2024's objective does: where it comes from, and its scale."""

import numpy as np
from scipy import optimize

from theory.binding import Binding
from theory.experts import ExpertMean, ExpertVariance, RelativeVariance
from theory.scores import Scores
from theory.solvers.weighted_kl import tilt
from theory.theorems.claim import Finding, Trial, claim
from theory.theorems.evidence import compared, exact, sample_mean
from theory.theorems.independent import mirror_ascent

PAPER = "adaptive2024"
REFERENCE = np.array([0.4, 0.3, 0.2, 0.1])
CLOSE = 1e-6
"""Agreement asked of the fixed point of an iteration."""


@claim(
    PAPER,
    "Alg. 1",
    statement="With one response a prompt, the variance of that response stands for the prompt's "
    "s(x) of Eq. 7.",
    verdict="false",
    corrected="The fixed point is that of the variance of each response, pi = ref exp((b mu - nu "
    "(b + s))/s) with one nu; unlike Eq. 7 it changes when a constant is added to all rewards.",
)
def one_response_a_prompt(_: Trial) -> Finding:
    """Ascent on the detached reward (b mu - s ln(pi/ref))/(b + s) of the sampled response."""
    spread, mean_reward = np.array([0.2, 1.5, 0.7, 1.0]), np.array([1.0, 0.0, 2.0, -0.5])
    mean_variance = np.array(REFERENCE @ spread)
    b, binding = float(mean_variance), Binding(mean_variance=mean_variance)

    def of_responses(mean: np.ndarray) -> np.ndarray:
        return mirror_ascent(
            lambda lr: (b * mean - spread * lr) / (b + spread), REFERENCE, REFERENCE, rate=0.5
        )

    def of_prompt(mean: np.ndarray) -> np.ndarray:
        def reward(log_ratio: np.ndarray) -> np.ndarray:
            return b * mean - (REFERENCE * np.exp(log_ratio)) @ spread * log_ratio

        return mirror_ascent(reward, REFERENCE, REFERENCE, rate=0.2)

    def fixed_point(mean: np.ndarray) -> np.ndarray:
        scores = Scores.known(mean, np.sqrt(spread))
        utility, cost = ExpertMean(1.0, "sample"), ExpertVariance(1.0, "sample")
        return np.exp(
            tilt(utility(scores, binding), cost(scores, binding), np.log(REFERENCE)).log_policy
        )

    return compared(
        *(
            exact(
                f"pi({y}), rewards + {shift:g}",
                of_responses(mean_reward + shift)[y],
                printed=of_prompt(mean_reward + shift)[y],
                corrected=fixed_point(mean_reward + shift)[y],
            )
            for shift in (0.0, 3.0)
            for y in (0, 2)
        ),
        tolerance=CLOSE,
    )


@claim(
    PAPER,
    "Eq. 6, App. B.3",
    statement="With the gradient stopped at s = E_pi[variance], Eq. 7 still is one objective to "
    "maximise.",
    verdict="true if",
    corrected="Training rests where s = E[variance] under ref exp(b mu / s), which is unique if the "
    "variance grows with mu, and may have several solutions otherwise: then the start decides.",
)
def stopped_gradient_has_one_outcome(_: Trial) -> Finding:
    """Two responses; s is recomputed at every step from either of two starts."""
    reference, mean = np.array([0.05, 0.95]), np.array([1.0, 0.0])
    variance, b = np.array([0.05, 2.0]), 0.5

    def reward(log_ratio: np.ndarray) -> np.ndarray:
        s = (reference * np.exp(log_ratio)) @ variance
        return (b * mean - s * log_ratio) / (b + s)

    def excess(s: float) -> float:
        policy = np.exp(tilt(mean, s / b, np.log(reference)).log_policy)
        return float(policy @ variance) - s

    starts = {"pi = (.05, .95)": reference, "pi = (.999, .001)": np.array([0.999, 0.001])}
    roots = [optimize.brentq(excess, *limits, xtol=1e-13) for limits in ((1.0, 2.0), (0.05, 0.06))]
    rest = {
        name: mirror_ascent(reward, start, reference, rate=0.5, steps=6000) @ variance
        for name, start in starts.items()
    }
    first = rest["pi = (.05, .95)"]
    evidence = [
        exact(f"s at rest, from {name}", s, printed=first, corrected=root)
        for (name, s), root in zip(rest.items(), roots, strict=True)
    ]
    return compared(*evidence, tolerance=CLOSE)


@claim(
    PAPER,
    "sec. 5",
    statement="The uncertainty needs no hyper-parameter to be tuned.",
    verdict="false",
    corrected="The KL coefficient lambda s/E[s] does not scale with the rewards: reward models c "
    "times as large act like lambda/c, so lambda has to be retuned.",
)
def nothing_to_tune(trial: Trial) -> Finding:
    """Five members of four responses, as they are and four times as large."""
    members = trial.rng("nothing_to_tune").standard_normal((4, 5)) + np.arange(4.0)[:, None] / 2
    lam = 0.5

    def trained(scale: float) -> float:
        s = REFERENCE @ np.var(scale * members, axis=-1)
        b = s / lam
        mean = scale * members.mean(-1)
        found = mirror_ascent(lambda lr: mean - s / b * lr, REFERENCE, REFERENCE, rate=1.0)
        return float(found[3])

    def optimum(scale: float, lam: float) -> float:
        scores = Scores(scale * members)
        s = np.array(REFERENCE @ scores.var())
        coefficient = RelativeVariance()(scores, Binding(mean_variance=s, prompt_variance=s))
        log_policy = tilt(scores.mean(), lam * coefficient, np.log(REFERENCE)).log_policy
        return float(np.exp(log_policy[3]))

    return compared(
        *(
            exact(
                f"pi(3), rewards times {scale:g}",
                trained(scale),
                printed=optimum(1.0, lam),
                corrected=optimum(1.0, lam / scale),
            )
            for scale in (1.0, 4.0)
        )
    )


@claim(
    PAPER,
    "Eq. 6",
    statement="The mean squared deviation of M members, with 1/M, is the variance of the reward.",
    verdict="false",
    corrected="Its mean is (M - 1)/M of the variance; the factor cancels in the KL coefficient s/b, "
    "b being set from the same quantity.",
)
def variance_with_one_over_m(trial: Trial) -> Finding:
    """M = 5 standard normal members; the coefficient with either denominator."""
    members = trial.rng("variance_with_one_over_m").standard_normal((trial.draws, 5))
    scores = Scores(members)
    relative = [
        RelativeVariance("sample", ddof=ddof)(
            scores, Binding(mean_variance=np.array(scores.var(ddof).mean()))
        )
        for ddof in (0, 1)
    ]
    return compared(
        sample_mean("E of the 1/M variance, true 1", scores.var(0), printed=1.0, corrected=0.8),
        exact("coefficient s/E[s] of the first sample", relative[0][0], corrected=relative[1][0]),
    )
