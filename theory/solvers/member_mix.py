"""The policy-level mix of a nominal reward with the worst of k members, by its dual."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.arrays import Array, expected, logsumexp
from theory.divergences import divergence
from theory.solvers.interior_point import Expansion, minimise_on_simplex
from theory.solvers.weighted_kl import tilt_unchecked


class Inner(NamedTuple):
    """The best policy for one utility.

    value:      max_pi E_pi[u] - penalty(pi) of each prompt.
    log_policy: its argmax.
    curvature:  om with d pi_y / d u_j = om_y [y = j] - om_y om_j / sum om: pi / cost for the 'kl'
                and 'bregman' forms, [pi > 0] / (2 cost) for a diagonal quadratic.
    """

    value: Float[Any, "*batch"]
    log_policy: Float[np.ndarray, "*batch n"]
    curvature: Float[np.ndarray, "*batch n"]


InnerSolver = Callable[[Float[np.ndarray, "*batch n"]], Inner]


class MemberMix(NamedTuple):
    """Saddle point of a member mix.

    weights:    w on the member simplex, shared by the prompts of a run. Not unique when members
                tie; the one found treats equal members equally.
    log_policy: the optimal policy, unique.
    value:      optimal objective, mean over prompts.
    gap:        dual minus primal objective, >= 0 up to rounding: the certificate, in reward units.
    """

    weights: Float[np.ndarray, "*runs k"]
    log_policy: Float[np.ndarray, "*runs prompts n"]
    value: Float[Any, "*runs"]
    gap: Float[Any, "*runs"]


def tilted(
    cost: Float[np.ndarray, "*#batch #n"], log_reference: Float[np.ndarray, "*#batch n"], form: str
) -> InnerSolver:
    """Inner solver of a weighted divergence; `cost` > 0 already contains beta.

    Raises `InputError` for a cost that is not finite and > 0, an unknown form, or shapes that do
    not broadcast (with each other, or with the utility when it is called).
    """
    checks.one_of("form", form, ("bregman", "kl"))
    checks.finite("cost", cost)
    checks.positive("cost", cost)
    checks.broadcastable("cost", cost, "log_reference", log_reference)

    def solve(utility: Float[np.ndarray, "*batch n"]) -> Inner:
        checks.broadcastable("utility", utility, "cost", cost)
        checks.broadcastable("utility", utility, "log_reference", log_reference)
        log_policy = tilt_unchecked(utility, cost, log_reference, form).log_policy
        policy = np.exp(log_policy)
        value = expected(policy, utility) - divergence(log_policy, cost, log_reference, form)
        return Inner(value, log_policy, policy / cost)

    return solve


def robust_mean(returns: Float[np.ndarray, "*runs k"], temperature: float) -> Float[Any, "*runs"]:
    """min_w w'returns + t KL(w | uniform) = -t ln mean exp(-returns / t); the minimum at t = 0.

    >>> robust_mean(np.array([1.2, -0.3, 0.5, 2.0, 0.1]), 0.5).round(4)
    np.float64(0.2362)
    """
    lowest = returns.min(-1)
    if temperature == 0:
        return lowest
    if np.isinf(temperature):
        return returns.mean(-1)
    excess = (returns - lowest[..., None]) / temperature
    return lowest - temperature * (logsumexp(-excess) - np.log(returns.shape[-1]))


def worst_weights(
    returns: Float[np.ndarray, "*runs k"], temperature: float
) -> Float[np.ndarray, "*runs k"]:
    """The w of `robust_mean`: softmin of the returns, all on the first minimum at t = 0.

    >>> worst_weights(np.array([2.0, 1.0]), 0.0)
    array([0., 1.])
    """
    k = returns.shape[-1]
    if temperature == 0:
        return np.eye(k)[returns.argmin(-1)]
    logits = -(returns - returns.min(-1, keepdims=True)) / temperature
    return np.exp(logits - logsumexp(logits, keepdims=True))


def prompt_law(
    prompt_weights: Float[np.ndarray, " prompts"] | None, prompts: int
) -> Float[np.ndarray, " prompts"]:
    """The weights of E_x, uniform when None. Raises unless one probability a prompt."""
    if prompt_weights is None:
        return np.full(prompts, 1 / prompts)
    if prompt_weights.shape != (prompts,):
        raise checks.InputError("prompt_weights", f"of shape ({prompts},)", prompt_weights.shape)
    checks.probabilities("prompt_weights", prompt_weights)
    return prompt_weights


def check_mix(
    nominal: Float[np.ndarray, "*batch n"],
    members: Float[np.ndarray, "*batch n k"],
    lam: float,
    temperature: float,
) -> None:
    """Raise unless the cells agree, all is finite, 0 <= lam <= 1 and temperature >= 0."""
    if members.shape[:-1] != nominal.shape or members.shape[-1] == 0:
        raise checks.InputError(
            "members", f"of shape {nominal.shape} + (k,), as `nominal`", members.shape
        )
    checks.finite("nominal", nominal)
    checks.finite("members", members)
    if not 0 <= lam <= 1:
        raise checks.InputError("lam", "between 0 (worst case) and 1 (nominal)", lam)
    if not temperature >= 0:
        raise checks.InputError("temperature", ">= 0 (0: worst member, inf: mean)", temperature)


def member_mix(
    nominal: Float[np.ndarray, "*runs prompts n"],
    members: Float[np.ndarray, "*runs prompts n k"],
    lam: float,
    inner: InnerSolver,
    *,
    temperature: float = 0.0,
    prompt_weights: Float[np.ndarray, " prompts"] | None = None,
) -> MemberMix:
    """max_pi lam E[u0] + (1 - lam) (min_w w'g(pi) + t KL(w | uniform)) - penalty(pi).

    g_i = E_x E_pi[r_i], E_x the mean under `prompt_weights` (uniform when None), w on the member
    simplex, t = `temperature`: 0 is the worst member, inf the mean. By Sion's theorem it equals
    min_w of the convex F(w) = E_x V(u_w) + (1 - lam) t KL(w | uniform), u_w = lam u0 + (1 - lam)
    members w, V = max_pi what `inner` solves. F has gradient (1 - lam) g and Hessian (1 - lam)^2
    E_x[sum om r_i r_j - (sum om r_i)(sum om r_j) / sum om] (plus t's own) and is minimised by a
    primal-dual interior point, for all runs at once. An unfinished run shows in `gap`.

    Raises `InputError` for mismatched shapes, numbers that are not finite, lam outside [0, 1] or a
    negative temperature.

    Source: [rewardrobust2024, Eq. 5-7].

    >>> members = np.eye(2)[None]
    >>> inner = tilted(np.array([[1.0]]), np.log([[0.9, 0.1]]), "kl")
    >>> np.exp(member_mix(np.zeros((1, 2)), members, 0.0, inner).log_policy).round(3)
    array([[0.768, 0.232]])
    """
    check_mix(nominal, members, lam, temperature)
    rho = prompt_law(prompt_weights, members.shape[-3])
    dual = _Dual(nominal, members, lam, inner, temperature, rho)
    k = members.shape[-1]
    weights = np.full((*members.shape[:-3], k), 1 / k)
    if lam < 1 and np.isfinite(temperature):
        weights = minimise_on_simplex(dual, weights)
    best = dual.best(weights)
    returns = dual.returns(best)
    robust = robust_mean(returns, temperature)
    gap = (1 - lam) * ((weights * returns).sum(-1) + dual.divergence(weights) - robust)
    value = best.value @ rho + (1 - lam) * dual.divergence(weights) - gap
    return MemberMix(weights, best.log_policy, value, gap)


@dataclass(frozen=True, eq=False)
class _Dual:
    """F of `member_mix` in units of (1 - lam) times the range of the members, over w."""

    nominal: np.ndarray
    members: np.ndarray
    lam: float
    inner: InnerSolver
    temperature: float
    rho: np.ndarray

    def __call__(self, weights: np.ndarray) -> Expansion:
        best = self.best(weights)
        spread = np.ptp(self.members, axis=(-2, -1)).max(-1)
        unit = np.where(spread > 0, spread, 1.0)
        value = best.value @ self.rho / (1 - self.lam) + self.divergence(weights)
        gradient = self.returns(best) + self.temperature * np.log(weights)
        hessian = (1 - self.lam) * self._response(best)
        hessian = hessian + self.temperature * np.eye(weights.shape[-1]) / weights[..., None]
        return Expansion(value / unit, gradient / unit[..., None], hessian / unit[..., None, None])

    def best(self, weights: np.ndarray) -> Inner:
        """The policy that answers w."""
        mixed = np.einsum("...xyi,...i->...xy", self.members, weights)
        return self.inner(self.lam * self.nominal + (1 - self.lam) * mixed)

    def returns(self, best: Inner) -> np.ndarray:
        """g_i = E_x E_pi[r_i]."""
        policy = np.exp(best.log_policy)
        return np.einsum("x,...xy,...xyi->...i", self.rho, policy, self.members)

    def divergence(self, weights: np.ndarray) -> Array:
        """t KL(w | uniform)."""
        if np.isinf(self.temperature):
            return np.zeros(weights.shape[:-1])
        return self.temperature * (weights * np.log(weights.shape[-1] * weights)).sum(-1)

    def _response(self, best: Inner) -> np.ndarray:
        """d g_i / d u_w in the direction of r_j: covariance of the members under om."""
        om = best.curvature[..., None]
        total = om.sum(-2, keepdims=True)
        centred = self.members - (om * self.members).sum(-2, keepdims=True) / total
        weighted = self.rho[:, None, None] * om * centred
        cells = (*centred.shape[:-3], -1, centred.shape[-1])
        return np.swapaxes(weighted.reshape(cells), -1, -2) @ centred.reshape(cells)
