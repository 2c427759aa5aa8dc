"""Smooth convex functions on the probability simplex, minimised for a whole batch at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from theory.arrays import Array

GAP = 1e-12
"""Bound on f - min f at which the solver stops; scale f so that its gradients have range near 1."""
ITERATIONS = 1000
HALVINGS = 50
SUFFICIENT_DECREASE = 1e-4
GRADIENT_ROUNDING = 1e-15
VALUE_ROUNDING = 1e-14
"""Errors of the gradient and of f relative to their size, below which nothing is asked of them."""
VALUE_NOISE = 1e-8
"""The same of an f that is a difference of large numbers, such as a penalty of beta 1e6."""
TO_BOUNDARY = 0.99
"""Largest part of the way to the boundary of the simplex that one step may go."""


class Expansion(NamedTuple):
    """A function to second order at one point of each run."""

    value: Float[Any, "*runs"]
    gradient: Float[np.ndarray, "*runs k"]
    hessian: Float[np.ndarray, "*runs k k"]


class _Step(NamedTuple):
    """Newton step of the weights and of their slacks, and the barrier's slope along it (< 0)."""

    weights: np.ndarray
    slacks: np.ndarray
    slope: Array


def simplex_gap(
    weights: Float[np.ndarray, "*runs k"], gradient: Float[np.ndarray, "*runs k"]
) -> Float[Any, "*runs"]:
    """w'grad - min grad, an upper bound on f(w) - min f for convex f."""
    return (weights * (gradient - gradient.min(-1, keepdims=True))).sum(-1)


def minimise_on_simplex(
    function: Callable[[Float[np.ndarray, "*runs k"]], Expansion],
    start: Float[np.ndarray, "*runs k"],
) -> Float[np.ndarray, "*runs k"]:
    """argmin of f over w >= 0, sum w = 1, for convex f with positive semidefinite Hessians.

    Primal-dual interior point: Newton steps on f - barrier * sum ln w with the slacks z of w >= 0
    (z w = barrier on the central path, where f - min f <= k barrier), damped until the barrier
    function decreases. `start` > 0. Where minimisers are not unique it tends to the centre of
    their set, so it commutes with permutations. Check the result with `simplex_gap`: after
    `ITERATIONS` steps the last point is returned.

    >>> def bowl(w):
    ...     return Expansion((w**2).sum(-1) / 2, w, np.eye(3))
    >>> minimise_on_simplex(bowl, np.array([0.6, 0.3, 0.1])).round(6)
    array([0.333333, 0.333333, 0.333333])
    """
    weights, here = start, function(start)
    k = weights.shape[-1]
    barrier = np.maximum(simplex_gap(weights, here.gradient) / k, GAP)[..., None]
    slacks = barrier / weights
    for _ in range(ITERATIONS):
        done = simplex_gap(weights, here.gradient) <= GAP + GRADIENT_ROUNDING * _steepness(here)
        if done.all():
            break
        step = _newton(weights, slacks, barrier, here)
        moving = np.where(done, 0.0, _to_boundary(weights, step.weights))
        size, here = _damped(function, weights, barrier[..., 0], here, step, moving)
        weights = weights + size[..., None] * step.weights
        slacks = slacks + _to_boundary(slacks, step.slacks)[..., None] * step.slacks
        centred = (-step.slope <= barrier[..., 0])[..., None]
        floor = GAP / (10 * k)
        tighter = np.maximum(np.minimum(0.1 * barrier, barrier**1.5), floor)
        barrier = np.where(centred, tighter, barrier)
    return weights / weights.sum(-1, keepdims=True)


def _newton(weights: np.ndarray, slacks: np.ndarray, barrier: np.ndarray, here: Expansion) -> _Step:
    """Solved in the coordinates dw = sqrt(w) y, where the matrix stays well scaled near w = 0."""
    k = weights.shape[-1]
    root = np.sqrt(weights)
    matrix = np.zeros((*weights.shape[:-1], k + 1, k + 1))
    matrix[..., :k, :k] = root[..., :, None] * here.hessian * root[..., None, :]
    matrix[..., range(k), range(k)] += slacks
    matrix[..., :k, k] = matrix[..., k, :k] = root
    descent = barrier / weights - here.gradient
    descent = descent - (weights * descent).sum(-1, keepdims=True)
    right = np.concatenate([root * descent, np.zeros_like(weights[..., :1])], axis=-1)
    direction = root * np.linalg.solve(matrix, right[..., None])[..., :k, 0]
    direction = direction - weights * direction.sum(-1, keepdims=True)
    slack_step = (barrier - slacks * (weights + direction)) / weights
    return _Step(direction, slack_step, -(descent * direction).sum(-1))


def _to_boundary(values: np.ndarray, step: np.ndarray) -> Array:
    """The longest step <= 1 that leaves every value a share 1 - TO_BOUNDARY of itself."""
    shrinkage = np.max(-step / values, axis=-1)
    return np.minimum(1.0, TO_BOUNDARY / np.maximum(shrinkage, TO_BOUNDARY))


def _steepness(here: Expansion) -> Array:
    return np.abs(here.gradient).max(-1)


def _damped(
    function: Callable[[np.ndarray], Expansion],
    weights: np.ndarray,
    barrier: Array,
    here: Expansion,
    step: _Step,
    size: Array,
) -> tuple[Array, Expansion]:
    """Halve the step of each run until f - barrier sum ln w has decreased enough.

    Where values are the same to their noise, the slope at the end of the step decides, which is not
    a difference of them: the approximate Wolfe condition of Hager and Zhang (2005, Eq. 22).
    """
    scale = 1 + np.abs(here.value) + _steepness(here)
    for _ in range(HALVINGS):
        reached = weights + size[..., None] * step.weights
        there = function(reached)
        logs = np.log1p(size[..., None] * step.weights / weights).sum(-1)
        change = there.value - here.value - barrier * logs
        enough = change <= SUFFICIENT_DECREASE * size * step.slope + VALUE_ROUNDING * scale
        slope = ((there.gradient - barrier[..., None] / reached) * step.weights).sum(-1)
        flat = slope <= (2 * SUFFICIENT_DECREASE - 1) * step.slope
        enough |= flat & (change <= VALUE_NOISE * scale)
        if enough.all():
            break
        size = np.where(enough, size, size / 2)
    return size, there
