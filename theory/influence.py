"""Gradient influence of training samples under SGD and Adam [xia2024; ugda2025, sec. 3.2]."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Float

from theory.arrays import Array, namespace
from theory.errors import InputError


@dataclass(frozen=True, eq=False)
class AdamState:
    """Adam's moment averages after `step` updates.

    `first` and `second` are the plain exponential averages that optimisers store, without bias
    correction (the recursion printed in ugda2025 carries corrected ones instead).
    """

    first: Float[Any, "*parameters"]
    second: Float[Any, "*parameters"]
    step: int

    @classmethod
    def start(cls, template: Float[Any, "*parameters"]) -> "AdamState":
        """Zero moments, no update yet."""
        zero = namespace(template).zeros_like(template)
        return cls(zero, zero, 0)


class AdamStep(NamedTuple):
    """The direction (the update is -learning rate x direction) and the state after it."""

    direction: Array
    state: AdamState


def adam_step(
    gradient: Float[Any, "*batch parameters"],
    state: AdamState,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> AdamStep:
    """Adam's direction if the next update used `gradient` alone [kingma2015, Alg. 1].

    With m, v the raw averages after t = state.step + 1 updates:
    (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps), so a constant gradient gives its sign.
    A batch of gradients shares one state, as when candidates are compared at a checkpoint
    [xia2024]. Raises `InputError` for a decay outside [0, 1).
    """
    _decays(beta1, beta2)
    t = state.step + 1
    first = beta1 * state.first + (1 - beta1) * gradient
    second = beta2 * state.second + (1 - beta2) * gradient**2
    scale = namespace(gradient).sqrt(second / (1 - beta2**t)) + eps
    return AdamStep(first / (1 - beta1**t) / scale, AdamState(first, second, t))


def adam_step_as_printed(
    gradient: Float[Any, "*batch parameters"],
    state: AdamState,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> AdamStep:
    """The literal recursion of [ugda2025, Eq. 6], which is not Adam: kept to reproduce the paper.

    Bias-corrected moments are fed back into the recursion, where they are corrected again, so they
    grow while every 1 - beta^t stays small; and eps stands inside the root. The exponent is t + 1
    where the paper prints t, which would divide by zero at the first step. A constant gradient 1
    with decays (.9, .95) gives steps 1, 1.64, 2.15, ..., then 7.7e-5 at step 100 instead of 1.
    """
    _decays(beta1, beta2)
    t = state.step + 1
    first = (beta1 * state.first + (1 - beta1) * gradient) / (1 - beta1**t)
    second = (beta2 * state.second + (1 - beta2) * gradient**2) / (1 - beta2**t)
    direction = first / namespace(gradient).sqrt(second + eps)
    return AdamStep(direction, AdamState(first, second, t))


def sgd_influence(
    validation: Float[Any, "checkpoints tasks parameters"],
    gradients: Float[Any, "checkpoints candidates parameters"],
    learning_rates: Float[Any, " checkpoints"],
) -> Float[Any, "candidates tasks"]:
    """First-order drop of each task's loss from training on each candidate once a checkpoint.

    Sum over checkpoints of learning rate x <validation gradient, candidate gradient>
    [ugda2025, Eq. 5]; exact to second order in the learning rate for single-sample SGD steps.
    """
    return _over_checkpoints(gradients @ _transposed(validation), learning_rates)


def cosine_influence(
    validation: Float[Any, "checkpoints tasks parameters"],
    directions: Float[Any, "checkpoints candidates parameters"],
    learning_rates: Float[Any, " checkpoints"],
) -> Float[Any, "candidates tasks"]:
    """Adam influence of each candidate on each task [xia2024, Def. 3.1; ugda2025, Eqs 7 and 11].

    Sum over checkpoints of learning rate x cosine(validation gradient, Adam direction): a
    definition, not a Taylor term, since the cosine drops both lengths. A zero vector has cosine 0.
    Projecting both sides (`theory.projection`) leaves cosines approximately unchanged.
    """
    return sgd_influence(_unit(validation), _unit(directions), learning_rates)


def _over_checkpoints(products: Array, learning_rates: Array) -> Array:
    return namespace(products).sum(products * learning_rates[:, None, None], axis=0)


def _transposed(matrices: Array) -> Array:
    return namespace(matrices).matrix_transpose(matrices)


def _unit(vectors: Array) -> Array:
    xp = namespace(vectors)
    norm = xp.linalg.vector_norm(vectors, axis=-1, keepdims=True)
    return vectors / xp.where(norm > 0, norm, xp.ones_like(norm))


def _decays(beta1: float, beta2: float) -> None:
    for name, beta in (("beta1", beta1), ("beta2", beta2)):
        if not 0 <= beta < 1:
            raise InputError(name, "a decay in [0, 1)", beta)
