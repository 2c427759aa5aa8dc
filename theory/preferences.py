"""Bradley-Terry preferences: P(first preferred) = sigmoid(r_first - r_second) [bradley1952]."""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import special

from theory import checks
from theory.arrays import namespace
from theory.errors import InputError

_NEWTON_STEPS = 100
_NEWTON_TOLERANCE = 1e-10
_CONDITION_LIMIT = 1e12


def log_sigmoid(x: Float[Any, "*batch"]) -> Float[Any, "*batch"]:
    """ln(1/(1 + e^-x)), finite for every finite x.

    >>> float(log_sigmoid(np.array(-1000.0)))
    -1000.0
    """
    xp = namespace(x)
    return xp.minimum(x, xp.zeros_like(x)) - xp.log1p(xp.exp(-xp.abs(x)))


def log_likelihood(
    reward_chosen: Float[Any, "*batch"],
    reward_rejected: Float[Any, "*batch"],
    *,
    noise: float = 0.0,
) -> Float[Any, "*batch"]:
    """Log-probability of each observed preference [bradley1952].

    ln((1 - noise) sigmoid(m) + noise sigmoid(-m)) with margin m = chosen - rejected; `noise` is
    the probability that a label was flipped. Raises `InputError` unless 0 <= noise < 1/2.
    """
    _label_noise(noise)
    margin = reward_chosen - reward_rejected
    clean = log_sigmoid(margin)
    if noise == 0:
        return clean
    flipped = log_sigmoid(-margin)
    return namespace(margin).logaddexp(math.log1p(-noise) + clean, math.log(noise) + flipped)


def preference_loss(
    reward_chosen: Float[Any, "*batch"],
    reward_rejected: Float[Any, "*batch"],
    *,
    noise: float = 0.0,
    centring: float = 0.0,
) -> Float[Any, "*batch"]:
    """Training loss of each pair: -log-likelihood + centring (r_chosen + r_rejected)^2.

    The second term fixes the offset that Bradley-Terry leaves free (one number a prompt) by
    pulling the pair's mean to 0 [adaptive2024, Eq. 1, its eta]. Raises `InputError` for a negative
    `centring` or a noise outside [0, 1/2).

    >>> float(preference_loss(np.array(0.0), np.array(0.0)).round(6))
    0.693147
    """
    checks.positive("centring", centring, zero_allowed=True)
    fit = log_likelihood(reward_chosen, reward_rejected, noise=noise)
    return centring * (reward_chosen + reward_rejected) ** 2 - fit


def sample_preferences(
    reward_first: Float[np.ndarray, "*batch"],
    reward_second: Float[np.ndarray, "*batch"],
    *,
    rng: np.random.Generator,
    noise: float = 0.0,
) -> Bool[np.ndarray, "*batch"]:
    """Labels of a Bradley-Terry annotator: True where the first response is preferred.

    Each label is flipped with probability `noise`, in [0, 1/2) (`InputError` otherwise).
    """
    _label_noise(noise)
    clean = special.expit(reward_first - reward_second)
    return np.asarray(rng.random(clean.shape) < noise + (1 - 2 * noise) * clean)


class LinearHead(NamedTuple):
    """A reward head r = features @ weights and its Laplace posterior covariance."""

    weights: Float[np.ndarray, " features"]
    covariance: Float[np.ndarray, "features features"]


def gradient(
    difference: Float[np.ndarray, "pairs features"], weights: Float[np.ndarray, " features"]
) -> Float[np.ndarray, " features"]:
    """Gradient in the head's weights of the total log-likelihood: sum of sigmoid(-m) difference.

    `difference` is features chosen - rejected and m = difference @ weights.
    """
    return special.expit(-difference @ weights) @ difference


def fisher_information(
    difference: Float[np.ndarray, "pairs features"], weights: Float[np.ndarray, " features"]
) -> Float[np.ndarray, "features features"]:
    """Fisher information of the pairs: sum of sigmoid(m) sigmoid(-m) difference difference'.

    Also minus the Hessian of the log-likelihood, since the labels enter the latter linearly.
    """
    margin = difference @ weights
    curvature = special.expit(margin) * special.expit(-margin)
    return (difference.T * curvature) @ difference


def fit_linear_head(
    features_chosen: Float[np.ndarray, "pairs features"],
    features_rejected: Float[np.ndarray, "pairs features"],
    prior_precision: float = 0.0,
) -> LinearHead:
    """max over w of sum ln sigmoid((chosen - rejected) w) - prior_precision |w|^2 / 2.

    Precision 0 is maximum likelihood, which exists only if the feature differences span the space
    and no w ranks every pair right; otherwise `InputError` asks for a prior. A positive precision
    is a Gaussian prior N(0, I / precision), and the answer always exists. Newton steps s are
    shortened by ln(1 + x)/x with x = max |(chosen - rejected) s|, which descends from any start
    because the third derivative of the log-sigmoid is bounded by its second.
    The covariance is the inverse of Fisher information plus prior precision (Laplace).
    """
    checks.positive("prior_precision", prior_precision, zero_allowed=True)
    difference = features_chosen - features_rejected
    checks.finite("features", difference)
    prior = prior_precision * np.eye(difference.shape[-1])

    weights = np.zeros(difference.shape[-1])
    for _ in range(_NEWTON_STEPS):
        hessian = fisher_information(difference, weights) + prior
        if prior_precision == 0 and np.linalg.cond(hessian) > _CONDITION_LIMIT:
            break
        step = np.linalg.solve(hessian, gradient(difference, weights) - prior @ weights)
        reach = float(np.max(np.abs(difference @ step), initial=_NEWTON_TOLERANCE))
        weights = weights + step * (math.log1p(reach) / reach)
        if np.linalg.norm(step) <= _NEWTON_TOLERANCE * (1 + np.linalg.norm(weights)):
            posterior = fisher_information(difference, weights) + prior
            return LinearHead(weights, np.linalg.inv(posterior))
    raise InputError(
        "prior_precision",
        "positive for pairs that do not determine the head",
        prior_precision,
        "the feature differences are rank deficient or separable; try 1e-3",
    )


def centred_predictive_std(
    features: Float[np.ndarray, "*batch n features"],
    covariance: Float[np.ndarray, "features features"],
    reference: Float[np.ndarray, "*batch n"] | None = None,
) -> Float[np.ndarray, "*batch n"]:
    """Posterior std of each response's reward minus its prompt's reference mean.

    Preferences never see a prompt's offset, so the raw reward's std would be the prior's; the
    centred one, sqrt(c' covariance c) with c = features - E_{pi0}[features], is what data inform.
    `reference` holds pi0 over the responses (uniform if None).
    Raises `InputError` for an invalid reference or a covariance that is not positive definite.
    """
    if reference is None:
        reference = np.full(features.shape[:-1], 1 / features.shape[-2])
    checks.probabilities("reference", reference)
    checks.covariance("covariance", covariance)
    centred = features - reference[..., None, :] @ features
    return np.linalg.norm(centred @ np.linalg.cholesky(covariance), axis=-1)


def _label_noise(noise: float) -> None:
    if not 0 <= noise < 0.5:
        raise InputError("noise", "a flip probability in [0, 1/2)", noise)
