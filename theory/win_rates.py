"""How often one policy is preferred to another: win rates, plain and at equal length."""

import numpy as np
from jaxtyping import Float

from theory import checks
from theory.errors import InputError
from theory.intervals import Interval, clopper_pearson
from theory.preferences import fit_linear_head

OUTCOMES = (1.0, 0.5, 0.0)
"""Of a pair: the first wins, a tie, the first loses."""
PRECISION = 0.01
"""Of the Gaussian prior on both coefficients of the length-controlled win rate."""


def win_rate(outcomes: Float[np.ndarray, "*pairs"]) -> float:
    """Share of wins plus half the share of ties, over the pairs that were judged (not NaN).

    NaN where none was. Raises `InputError` for an outcome that is not 1, 1/2, 0 or NaN.

    >>> win_rate(np.array([1.0, 0.5, 0.0, 1.0, np.nan]))
    0.625
    """
    judged = _judged(outcomes)
    return float(outcomes[judged].mean()) if judged.any() else np.nan


def win_rate_interval(wins: int, losses: int, pairs: int, alpha: float) -> Interval:
    """Limits of P(win) + P(tie) / 2, which miss it with probability <= alpha.

    The rate is (1 + P(win) - P(lose)) / 2; both probabilities get exact limits at alpha / 2
    [clopper1934], so that they hold together, and the limits of the rate follow. Pairs are
    independent. Raises `InputError` as `clopper_pearson`, and for more wins and losses than pairs.

    >>> [float(limit.round(3)) for limit in win_rate_interval(6, 3, 10, 0.05)]
    [0.268, 0.925]
    """
    win, lose = (clopper_pearson(count, pairs, alpha / 2) for count in (wins, losses))
    if wins + losses > pairs:
        raise InputError("pairs", f"at least {wins} wins + {losses} losses", pairs)
    return Interval((1 + win.low - lose.high) / 2, (1 + win.high - lose.low) / 2)


def length_controlled_win_rate(
    outcomes: Float[np.ndarray, "*pairs"],
    difference: Float[np.ndarray, "*pairs"],
    *,
    precision: float = PRECISION,
) -> float:
    """The win rate that a logistic model predicts for responses of equal length [dubois2024].

    max over (a, b) of sum of y ln p + (1 - y) ln(1 - p) - precision (a^2 + b^2) / 2, with
    p = sigmoid(a + b tanh(d / std(d))), outcomes y and differences in length d, the first's less
    the second's; the answer is sigmoid(a). The penalty keeps it finite where lengths separate wins
    from losses. AlpacaEval also has a term for the difficulty of each instruction, which takes many
    models to estimate, chooses an L1 penalty by cross-validation, and adds answers of models
    that game lengths; none of this is here.

    NaN where the second response is the shorter one in every judged pair, or the longer one in
    every pair: no data then surround equal lengths. Pairs with a NaN outcome are left out.
    Raises `InputError` for other outcomes than 1, 1/2, 0 or NaN, and for precision <= 0.

    >>> difference = np.repeat([-5.0, 5.0], [4, 12])
    >>> outcomes = np.concatenate([[1, 0, 0, 0], np.repeat([1, 0], [9, 3])]).astype(float)
    >>> win_rate(outcomes), round(length_controlled_win_rate(outcomes, difference), 2)
    (0.625, 0.5)
    """
    checks.positive_number("precision", precision)
    judged = _judged(outcomes)
    checks.finite("difference", difference[judged])
    y, d = outcomes[judged], difference[judged].astype(float)
    if not y.size or d.min() > 0 or d.max() < 0:
        return np.nan
    squashed = np.tanh(d / d.std(ddof=1)) if d.any() else d
    features = np.stack([np.ones_like(d), squashed], axis=-1)
    # every pair as two hard labels, so that a tie is a win and a loss
    signed = np.concatenate([np.where((y == 0)[:, None], -features, features),
                             np.where((y == 1)[:, None], features, -features)])  # fmt: skip
    head = fit_linear_head(signed, np.zeros_like(signed), prior_precision=2 * precision)
    return float(1 / (1 + np.exp(-head.weights[0])))


def _judged(outcomes: Float[np.ndarray, "*pairs"]) -> np.ndarray:
    """Which outcomes are not NaN; raises for those that are none."""
    judged = ~np.isnan(outcomes)
    if not np.isin(outcomes[judged], OUTCOMES).all():
        raise InputError("outcomes", "1, 1/2, 0 or NaN", np.setdiff1d(outcomes[judged], OUTCOMES))
    return judged
