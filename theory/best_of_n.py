"""Best-of-n sampling: draw n responses from pi0, keep the one that the reward scores highest."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.errors import InputError
from theory.levels import Levels
from theory.order_statistics import gaussian_max_mean

# A weight below this adds nothing in float64, and only shrinks further as n grows.
_NEGLIGIBLE = 1e-30


class BestOfN(NamedTuple):
    """Exact law of the kept response, per prompt."""

    log_policy: Float[np.ndarray, "*batch y"]
    """ln pi(y); -inf exactly where pi0 is 0."""
    kl: Float[np.ndarray, "*batch"]
    """KL(pi || pi0) in nats."""
    win_rate: Float[np.ndarray, "*batch"]
    """P(reward above that of one draw of pi0), a tie counting one half."""


def best_of_n_law(
    reward: Float[np.ndarray, "*batch y"], log_reference: Float[np.ndarray, "*batch y"], n: int
) -> BestOfN:
    """The policy that best-of-n sampling is, with ties broken uniformly among the draws.

    A reward level of mass g, with mass B strictly below it and F = B + g up to it, is kept with
    probability q = F^n - B^n, shared in proportion to pi0: pi = pi0 q / g. Hence
    KL = sum over levels of q ln(q/g), and the win rate is sum q (B + g/2).

    `reward` and `log_reference` (normalised log-probabilities) have responses on the last axis.
    Everything stays in log space, so n may be astronomically large.
    Raises `InputError` for n < 1, non-finite rewards or probabilities that do not sum to 1.
    [beirami2024], extended to ties.

    >>> law = best_of_n_law(np.array([0.0, 1.0]), np.log(np.array([0.5, 0.5])), 4)
    >>> float(law.kl.round(5))
    0.45936
    """
    checks.positive("n", n)
    checks.finite("reward", reward)
    checks.probabilities("exp(log_reference)", np.exp(log_reference))
    order = np.argsort(reward, axis=-1, kind="stable")
    levels = Levels(np.take_along_axis(reward, order, axis=-1))
    mass = np.exp(np.take_along_axis(log_reference, order, axis=-1))

    level_mass = levels.total(mass)
    up_to = levels.end(np.cumsum(mass, axis=-1))
    from_here = np.flip(np.cumsum(np.flip(mass, axis=-1), axis=-1), axis=-1)
    above = levels.end(np.append(from_here[..., 1:], np.zeros_like(mass[..., :1]), axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_up_to = np.where(above < 0.5, np.log1p(-above), np.log(up_to))
        share = np.minimum(level_mass / up_to, 1.0)
        log_kept = n * log_up_to + np.log(-np.expm1(n * np.log1p(-share)))
        log_ratio = np.where(level_mass > 0, log_kept - np.log(level_mass), 0.0)

    policy = mass * np.exp(log_ratio)
    kl = np.sum(policy * log_ratio, axis=-1)
    win_rate = np.sum(policy * (up_to - level_mass / 2), axis=-1)
    back = np.argsort(order, axis=-1)
    return BestOfN(log_reference + np.take_along_axis(log_ratio, back, axis=-1), kl, win_rate)


def kl_upper_bound(n: int) -> float:
    """ln n - (n-1)/n: the KL of best-of-n for a continuous reward, an upper bound with ties.

    [gao2023; beirami2024]. Raises `InputError` for n < 1.

    >>> round(kl_upper_bound(4), 5)
    0.63629
    """
    checks.positive("n", n)
    return math.log(n) - (n - 1) / n


def win_rate(n: int) -> float:
    """n/(n+1): how often best-of-n beats one draw of pi0 when the reward has no ties.

    With ties see `best_of_n_law(...).win_rate`, which is smaller. Raises `InputError` for n < 1.
    """
    checks.positive("n", n)
    return n / (n + 1)


def kl_efficiency(n: int) -> float:
    """Best-of-n's share of the reward that its KL could buy, for a Gaussian reward.

    E max_n / sqrt(2 KL_n): exponential tilting of a standard normal reaches sqrt(2 KL).
    Raises `InputError` for n < 2, where KL = 0.

    >>> round(kl_efficiency(100), 4)
    0.9326
    """
    if n < 2:
        raise InputError("n", "an integer >= 2", n, "best-of-1 spends no KL")
    return gaussian_max_mean(n) / math.sqrt(2 * kl_upper_bound(n))


def gaussian_proxy_gold(n: int, rho: float) -> float:
    """Expected gold of best-of-n when gold and proxy are standard normals of correlation rho.

    rho E max_n: with Gaussian noise the gold never over-optimises. Raises `InputError` unless
    |rho| <= 1 and n >= 1.
    """
    if not -1 <= rho <= 1:
        raise InputError("rho", "a correlation in [-1, 1]", rho)
    return rho * gaussian_max_mean(n)


def additive_noise_gold(sizes: Sequence[int], noise: Any) -> Float[np.ndarray, " sizes"]:
    """Expected gold of best-of-n for each n in `sizes` when proxy = gold + noise.

    Gold is standard normal, `noise` an independent frozen `scipy.stats` distribution. Heavy tails
    make the curve rise and fall: with Student's t of 2 degrees of freedom it peaks near n = 16,
    the smallest model of reward over-optimisation. The integral of E[gold; proxy = s] n F(s)^(n-1)
    is a trapezoid sum in s = sinh(u); F is the law of the proxy.
    Raises `InputError` for n < 1.

    >>> from scipy import stats
    >>> additive_noise_gold([4, 16, 256], stats.t(2)).round(2).tolist()
    [0.56, 0.69, 0.24]
    """
    checks.positive("sizes", sizes)
    gold, gold_step = np.linspace(-9.0, 9.0, 361, retstep=True)
    weight = np.exp(-(gold**2) / 2) * gold_step / math.sqrt(2 * math.pi)
    u, u_step = np.linspace(-15.0, 15.0, 1201, retstep=True)
    residual = np.sinh(u)[:, None] - gold
    gold_density = noise.pdf(residual) @ (weight * gold)
    cdf = np.clip(noise.cdf(residual) @ weight, 0.0, 1.0)
    size = np.asarray(sizes, dtype=float)[:, None]
    return (size * cdf ** (size - 1)) @ (gold_density * np.cosh(u)) * u_step


def unbiased_curve(
    proxy: Float[np.ndarray, "*batch samples"], gold: Float[np.ndarray, "*batch samples"]
) -> Float[np.ndarray, "*batch samples"]:
    """Unbiased best-of-n gold for every n = 1..N, estimated from N scored draws of pi0.

    Entry n-1 averages, over all subsets of size n, the gold of the subset's proxy-best response
    (uniformly among ties): sum over i of C(i, n-1)/C(N, n) gold_(i), with i = 0..N-1 in ascending
    proxy order and each gold replaced by the mean over its proxy ties. The weights of n + 1 follow
    from those of n by one multiplication, which neither overflows nor cancels. `proxy` again in
    place of `gold` gives the proxy curve. O(N) memory a prompt.
    Raises `InputError` for non-finite scores or shapes that differ. [gao2023]

    >>> unbiased_curve(np.array([2.0, 0.0, 1.0]), np.array([3.0, 0.0, 6.0])).round(12).tolist()
    [3.0, 4.0, 3.0]
    """
    if proxy.shape != gold.shape:
        raise InputError("gold", f"of the shape {proxy.shape} of `proxy`", gold.shape)
    checks.finite("proxy", proxy)
    checks.finite("gold", gold)
    order = np.argsort(proxy, axis=-1, kind="stable")
    levels = Levels(np.take_along_axis(proxy, order, axis=-1))
    ordered = levels.mean(np.take_along_axis(gold, order, axis=-1))
    total = proxy.shape[-1]
    curve = np.empty(ordered.shape)
    weights = np.full(total, 1 / total)
    for n in range(1, total + 1):
        used = total - weights.size
        curve[..., n - 1] = ordered[..., used:] @ weights
        growth = np.arange(used - n + 1, total - n + 1) * ((n + 1) / (n * max(total - n, 1)))
        weights = weights * growth
        weights = weights[weights > _NEGLIGIBLE]
    return curve
