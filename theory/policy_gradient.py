"""Advantages and clipped losses of PPO, as pure functions of (batch, time) arrays.

A `mask` is boolean and True on the tokens of a response; None means that all are. Whatever stands
in masked-out places, NaN included, reaches neither a result nor a gradient of the others.
"""

from typing import Any, NamedTuple

from jaxtyping import Bool, Float

from theory import checks
from theory.arrays import Array, namespace
from theory.errors import InputError


class Advantages(NamedTuple):
    """Generalised advantages and the value targets (advantage + value); 0 where masked."""

    advantages: Float[Any, "*batch time"]
    returns: Float[Any, "*batch time"]


class Surrogate(NamedTuple):
    """Clipped policy loss (to be minimised) and the share of tokens with a ratio out of range."""

    loss: Float[Any, ""]
    clip_fraction: Float[Any, ""]


def gae(
    rewards: Float[Any, "*batch time"],
    values: Float[Any, "*batch time"],
    gamma: float,
    lam: float,
    mask: Bool[Any, "*batch time"] | None = None,
) -> Advantages:
    """Generalised advantage estimates [schulman2016, Eq. 16].

    A_t = delta_t + gamma lam A_{t+1}, delta_t = r_t + gamma V_{t+1} - V_t, both with 0 beyond the
    episode: at the last time and before a masked-out one, where the episode ends (no bootstrap).
    `lam` = 1 gives returns minus values, 0 the one-step error. Differentiable; detach `values` for
    the usual semi-gradient. Raises `InputError` for gamma or lam outside [0, 1] or unequal shapes.

    >>> import numpy as np
    >>> gae(np.array([0.0, 0.0, 1.0]), np.zeros(3), 1.0, 0.5).advantages.tolist()
    [0.25, 0.5, 1.0]
    """
    for name, share in (("gamma", gamma), ("lam", lam)):
        if not 0 <= share <= 1:
            raise InputError(name, "in [0, 1]", share)
    if rewards.shape != values.shape:
        raise InputError(
            "values", f"of the shape {tuple(rewards.shape)} of `rewards`", values.shape
        )
    xp = namespace(rewards, values, mask)
    rewards, values = _kept(rewards, mask), _kept(values, mask)
    alive = xp.ones_like(rewards) if mask is None else xp.astype(mask, rewards.dtype)

    advantage = next_value = xp.zeros_like(rewards[..., 0])
    backwards = []
    for t in reversed(range(rewards.shape[-1])):
        delta = rewards[..., t] + gamma * next_value - values[..., t]
        advantage = alive[..., t] * (delta + gamma * lam * advantage)
        next_value = values[..., t]
        backwards.append(advantage)
    advantages = xp.stack(backwards[::-1], axis=-1)
    return Advantages(advantages, advantages + values)


def clipped_surrogate(
    log_prob: Float[Any, "*batch time"],
    old_log_prob: Float[Any, "*batch time"],
    advantages: Float[Any, "*batch time"],
    clip: float,
    mask: Bool[Any, "*batch time"] | None = None,
) -> Surrogate:
    """-mean of min(ratio A, clip(ratio, 1 - clip, 1 + clip) A) [schulman2017, Eq. 7].

    ratio = exp(log_prob - old_log_prob), one a token; the mean is over unmasked tokens. The clip
    fraction counts ratios outside the interval, whether or not the minimum picks the clipped term.
    Raises `InputError` unless clip > 0.
    """
    checks.positive("clip", clip)
    xp = namespace(log_prob, old_log_prob, advantages, mask)
    ratio = xp.exp(_kept(log_prob - old_log_prob, mask))
    advantages = _kept(advantages, mask)
    gain = xp.minimum(ratio * advantages, xp.clip(ratio, 1 - clip, 1 + clip) * advantages)
    outside = xp.astype(xp.abs(ratio - 1) > clip, ratio.dtype)
    return Surrogate(-masked_mean(gain, mask), masked_mean(outside, mask))


def clipped_value_loss(
    values: Float[Any, "*batch time"],
    old_values: Float[Any, "*batch time"],
    returns: Float[Any, "*batch time"],
    clip: float,
    mask: Bool[Any, "*batch time"] | None = None,
) -> Float[Any, ""]:
    """Half the mean of max((V - R)^2, (V_clipped - R)^2), V_clipped within clip of the old value.

    The value loss of the published PPO code [schulman2017]. Raises `InputError` unless clip > 0.
    """
    checks.positive("clip", clip)
    xp = namespace(values, old_values, returns, mask)
    values, old_values, returns = (_kept(x, mask) for x in (values, old_values, returns))
    near = old_values + xp.clip(values - old_values, -clip, clip)
    worse = xp.maximum((values - returns) ** 2, (near - returns) ** 2)
    return masked_mean(worse, mask) / 2


def masked_mean(
    values: Float[Any, "*batch time"], mask: Bool[Any, "*batch time"] | None = None
) -> Float[Any, ""]:
    """Mean over the unmasked entries of all axes. Raises `InputError` when there are none."""
    xp = namespace(values, mask)
    if mask is None:
        return xp.mean(values)
    count = int(xp.sum(xp.astype(mask, xp.int64)))
    if count == 0:
        raise InputError("mask", "True somewhere", "no unmasked entry", "drop empty responses")
    return xp.sum(_kept(values, mask)) / count


def masked_whiten(
    values: Float[Any, "*batch time"],
    mask: Bool[Any, "*batch time"] | None = None,
    *,
    shift_mean: bool = True,
    eps: float = 1e-8,
    ddof: int = 0,
) -> Float[Any, "*batch time"]:
    """Scale the unmasked entries to variance 1 and mean 0, or the old mean; mask the rest.

    `eps` is added to the variance, so constant entries become 0. Whitening magnifies the noise of
    nearly constant advantages to unit size. Raises `InputError` unless more than `ddof` entries are
    unmasked.
    """
    xp = namespace(values, mask)
    mean = masked_mean(values, mask)
    centred = _kept(values - mean, mask)
    count = int(xp.sum(xp.astype(xp.ones_like(values) if mask is None else mask, xp.int64)))
    if count <= ddof:
        raise InputError("mask", f"True for more than {ddof} entries", count)
    variance = masked_mean(centred**2, mask) * (count / (count - ddof))
    white = centred / xp.sqrt(variance + eps)
    return white if shift_mean else _kept(white + mean, mask)


def _kept(values: Array, mask: Array | None) -> Array:
    """The values, with 0 where masked out."""
    xp = namespace(values, mask)
    return values if mask is None else xp.where(mask, values, xp.zeros_like(values))
