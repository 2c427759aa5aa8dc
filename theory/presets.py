"""Each paper's method as one expression over utilities, coefficients, forms and strengths.

Arguments that are called `strength` take a `Penalty`, a `Budget` or a `TargetKL`; a plain number
is the beta of a `Penalty`. Corrected statements are the defaults: `as_printed` in a name marks a
paper's own formula where the two differ.
"""

from collections.abc import Callable

from theory import checks
from theory.dro import ChiSquareBall, ChiSquarePenalty, Entropic
from theory.errors import InputError
from theory.experts import ExpertMean, ExpertVariance, RelativeVariance
from theory.mixes import PolicyWorstMix, WorstMix
from theory.objective import Objective
from theory.penalties import (
    Budget,
    Constant,
    Covariance,
    Fisher,
    Penalty,
    StdDev,
    Strength,
    TargetKL,
    Variance,
)
from theory.utilities import LCB, UWO, Max, Mean, Member, Min, MinStdHead, Utility


def with_kl(utility: Utility, strength: float | Strength, name: str) -> Objective:
    """max E[utility] - beta KL: a utility with a plain KL penalty.

    >>> print(with_kl(Min(), 0.2, "WCO"))
    max E[Min()] - 0.2 * bregman(Constant())
    """
    return Objective(utility, Constant(), "bregman", _strength(strength), name)


def vanilla(strength: float | Strength = 0.1, *, member: int = 0) -> Objective:
    """KL-regularised RLHF on one reward model: max E[r] - beta KL. Optimum pi0 exp(r / beta) / Z.

    >>> vanilla(0.2).strength
    Penalty(beta=0.2)
    """
    return with_kl(Member(member), strength, "vanilla")


def ensemble_mean(strength: float | Strength = 0.1) -> Objective:
    """The mean over members [coste2023; zhang2024, sec. 3]."""
    return with_kl(Mean(), strength, "mean")


def wco(strength: float | Strength = 0.1) -> Objective:
    """Worst-case optimisation: the smallest member of each sample [coste2023]."""
    return with_kl(Min(), strength, "WCO")


def best_case(strength: float | Strength = 0.1) -> Objective:
    """The largest member of each sample: the over-scoring baseline [rewardrobust2024, sec. 6.1]."""
    return with_kl(Max(), strength, "max")


def lcb(strength: float | Strength = 0.1, *, coefficient: float = 1.0, ddof: int = 1) -> Objective:
    """Lower confidence bound: mean - coefficient * std [zhang2024, sec. 3]."""
    return with_kl(LCB(coefficient, ddof), strength, "LCB")


def uwo(strength: float | Strength = 0.1, *, lam: float = 0.5, ddof: int = 1) -> Objective:
    """Uncertainty-weighted optimisation: mean - lam * var [coste2023]."""
    return with_kl(UWO(lam, ddof), strength, "UWO")


def entropic(strength: float | Strength = 0.1, *, temperature: float = 1.0) -> Objective:
    """KL-robust mean of each sample: -t ln mean exp(-r / t), between the mean and the minimum."""
    return with_kl(Entropic(temperature), strength, "entropic")


def chi_square(strength: float | Strength = 0.1, *, tau: float = 1.0) -> Objective:
    """Chi-square penalised robust mean: UWO(1 / (2 tau)) inside its range of validity."""
    return with_kl(ChiSquarePenalty(tau), strength, "chi2 penalty")


def chi_square_ball(strength: float | Strength = 0.1, *, rho: float = 0.3) -> Objective:
    """Chi-square ball robust mean: LCB(sqrt(rho)) inside its range of validity."""
    return with_kl(ChiSquareBall(rho), strength, "chi2 ball")


def variance_aware(strength: float | Strength = 0.1, *, sigma_min: float = 1e-3) -> Objective:
    """max E[mean] - beta B, B the Bregman divergence weighted by sigma^2.

    Corrected statement of [banerjee2024, Thm 3.6]: pi = pi0 exp((R - nu) / (beta sigma^2)). It is
    anchored at pi0 and does not depend on a shift of the rewards.
    """
    strength = _strength(strength)
    return Objective(Mean(), Variance(sigma_min), "bregman", strength, "variance-aware")


def variance_aware_kl(strength: float | Strength = 0.1, *, sigma_min: float = 1e-3) -> Objective:
    """max E[mean] s.t. E[sigma^2 ln(pi / pi0)] <= eps, the problem of [banerjee2024, Thm 3.6].

    Its exact optimum is pi0 exp((R - nu) / (beta sigma^2) - 1); what the theorem prints instead is
    `theory.as_printed.sharpe_tilt_as_printed`. Not anchored: with R = 0 it still moves the policy.
    """
    strength = _strength(strength)
    return Objective(Mean(), Variance(sigma_min), "kl", strength, "variance-aware, weighted KL")


def variance_aware_ppo(
    strength: float | Strength = 0.05, *, member: int | None = None, sigma_min: float = 1e-3
) -> Objective:
    """What PPO with the reward r - beta sigma ln(pi / pi0) maximises [banerjee2024, sec. 5].

    With the reward detached its policy gradient is that of the Bregman form. The paper rewards
    each policy with one member; the mean is taken where `member` is None.
    """
    utility = Mean() if member is None else Member(member)
    strength = _strength(strength)
    return Objective(utility, StdDev(sigma_min), "bregman", strength, "variance-aware PPO")


def variance_aware_theorem(
    strength: float | Strength = Budget(0.1), *, sigma_min: float = 1e-3
) -> Objective:
    """max R'pi s.t. |pi - pi0|^2 weighted by sigma^2 <= eps: pi2 of [banerjee2024, Thm 3.3]."""
    strength = _strength(strength)
    return Objective(Mean(), Variance(sigma_min), "quadratic", strength, "variance-aware l2")


def variance_unaware_theorem(strength: float | Strength = Budget(0.1)) -> Objective:
    """max R'pi s.t. |pi - pi0|^2 <= eps: pi1 of [banerjee2024, Thm 3.3]."""
    return Objective(Mean(), Constant(), "quadratic", _strength(strength), "unaware l2")


def covariance_aware(
    strength: float | Strength = Budget(0.1), *, method: str = "ledoit_wolf"
) -> Objective:
    """The same with the full covariance across responses, (pi - pi0)'S(pi - pi0) <= eps."""
    strength = _strength(strength)
    return Objective(Mean(), Covariance(method), "quadratic", strength, "covariance-aware l2")


def safe(beta: float, *, method: str = "ledoit_wolf") -> Objective:
    """max R'd - beta |d|_S, a lower confidence bound on the gain [banerjee2024, Eq. 2].

    `theory.safe_bound.radius` gives the beta of a confidence level.
    """
    return Objective(Mean(), Covariance(method), "norm", Penalty(beta), "safe")


def trust_region(strength: float | Strength = Budget(0.1)) -> Objective:
    """The diagonal Fisher metric 1 / pi0, second order of KL (TRPO) [banerjee2024, Rem. 2.3]."""
    return Objective(Mean(), Fisher(), "quadratic", _strength(strength), "trust region")


def reward_robust(
    strength: float | Strength = 0.1, *, lam: float = 0.4, nominal: int = 0
) -> Objective:
    """lam r_nominal + (1 - lam) min over the others, per sample: what [rewardrobust2024] runs."""
    return with_kl(WorstMix(lam, Member(nominal)), strength, "reward-robust")


def reward_robust_policy(
    strength: float | Strength = 0.1, *, lam: float = 0.4, nominal: int = 0
) -> Objective:
    """lam E[r_nominal] + (1 - lam) min_i E[r_i] over the others [rewardrobust2024, Eq. 7]."""
    mix = PolicyWorstMix(lam, Member(nominal))
    return with_kl(mix, strength, "reward-robust, policy level")


def brme(strength: float | Strength = 0.1, *, lam: float = 0.4) -> Objective:
    """The head of smallest std against the worst of all heads [rewardrobust2024, sec. 5].

    Needs `Scores.head_std`.
    """
    return with_kl(WorstMix(lam, MinStdHead(), over="all"), strength, "BRME")


def global_dro(strength: float | Strength = 0.1, *, temperature: float = 1.0) -> Objective:
    """min over mixtures w of the members of E[w'r] + t KL(w | uniform), one w for all prompts.

    t = inf is the ensemble mean, t = 0 the policy-level worst member [rewardrobust2024, Eq. 6].
    """
    mix = PolicyWorstMix(0.0, over="all", temperature=temperature)
    return with_kl(mix, strength, "global KL-DRO")


def adaptive(strength: float | Strength = 0.05, *, per: str = "prompt") -> Objective:
    """max E[mean] - lam E_x[s / E[s] KL]: the coefficient sigma^2 / b of [adaptive2024, Eq. 7].

    The beta of the strength is the paper's lambda. In tables `adaptive_experts` has the same
    optimum for per='prompt'.
    """
    strength = _strength(strength)
    return Objective(Mean(), RelativeVariance(per), "bregman", strength, "adaptive")


def adaptive_experts(lam: float = 0.05, *, per: str = "prompt") -> Objective:
    """E_x[b / (b + s) E[mean] - s / (b + s) KL], b = E[s] / lam [adaptive2024, Eq. 7]."""
    return Objective(
        ExpertMean(lam, per), ExpertVariance(lam, per), "bregman", Penalty(1.0), "adaptive experts"
    )


PRESETS: dict[str, Callable[..., Objective]] = {
    preset.__name__: preset
    for preset in (
        vanilla, ensemble_mean, wco, best_case, lcb, uwo, entropic, chi_square, chi_square_ball,
        variance_aware, variance_aware_kl, variance_aware_ppo, variance_aware_theorem,
        variance_unaware_theorem, covariance_aware, safe, trust_region, reward_robust,
        reward_robust_policy, brme, global_dro, adaptive, adaptive_experts,
    )
}  # fmt: skip
"""All presets by name; one that joins here joins the table of laws in the tests."""
BETA_ONLY = ("safe", "adaptive_experts")
"""Presets that take a beta, and no other strength."""


def preset(name: str, strength: float | Strength | None = None) -> Objective:
    """The preset of that name, at a strength or at its own.

    Raises `InputError` for an unknown name (with the nearest), for a budget or target KL of one
    that has a beta only, and for 'safe' without a beta.

    >>> preset("lcb", 0.2).strength
    Penalty(beta=0.2)
    """
    checks.one_of("objective", name, PRESETS)
    if name in BETA_ONLY and isinstance(strength, Budget | TargetKL):
        raise InputError(
            "objective", f"one that can be had at {strength}", repr(name),
            "it has a beta only: give --beta instead",
        )  # fmt: skip
    if name == "safe" and strength is None:
        raise InputError(
            "beta", "given for the objective 'safe'", "none",
            "theory.safe_bound.radius gives that of a confidence level",
        )  # fmt: skip
    if name in BETA_ONLY and isinstance(strength, Penalty):
        strength = strength.beta
    return PRESETS[name]() if strength is None else PRESETS[name](strength)


def _strength(strength: float | Strength) -> Strength:
    return Penalty(strength) if isinstance(strength, int | float) else strength
