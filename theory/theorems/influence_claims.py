"""Gradient influence in ugda2025: the Taylor term, Adam, and random projections."""

import numpy as np

from theory.influence import (
    AdamState,
    adam_step,
    adam_step_as_printed,
    sgd_influence,
)
from theory.preferences import gradient, log_sigmoid
from theory.theorems.claim import Finding, Trial, claim
from theory.theorems.evidence import (
    all_agree,
    compared,
    exact,
)

PAPER = "ugda2025"
DIMENSION = 8192
"""Projection dimension of the paper."""


@claim(
    PAPER,
    "Eqs 3-5",
    statement="one SGD step on z changes the loss of z' by -eta <grad L(z), grad L(z')> to first "
    "order in eta",
    verdict="true",
)
def sgd_influence_is_first_order(trial: Trial) -> Finding:
    """A Bradley-Terry loss: the error must fall a hundredfold when eta falls tenfold."""
    weights, sample, validation = trial.rng("sgd_influence_is_first_order").standard_normal((3, 6))

    def slope(pair: np.ndarray) -> np.ndarray:
        return -gradient(pair[None], weights)

    evidence, errors = [], []
    for eta in (1e-2, 1e-3, 1e-4):
        after = weights - eta * slope(sample)
        drop = float(log_sigmoid(np.array(validation @ after - 0.0)))
        drop -= float(log_sigmoid(np.array(validation @ weights)))
        first = sgd_influence(slope(validation)[None, None], slope(sample)[None, None],
                              np.array([eta]))  # fmt: skip
        errors.append(abs(drop - float(first[0, 0])))
        evidence.append(exact(f"loss drop, eta={eta:g}", drop))
    orders = np.log10(np.divide(errors[:-1], errors[1:]))
    evidence += [
        exact(f"order of the error, eta={eta}", order, printed=2.0)
        for eta, order in zip(("1e-2 to 1e-3", "1e-3 to 1e-4"), orders, strict=True)
    ]
    holds = all_agree(evidence, "printed", 0.02)
    return Finding(holds, holds, tuple(evidence))


@claim(
    PAPER,
    "Eq. 6",
    statement="Adam feeds its bias-corrected moments, divided by 1 - beta^t, back into m and v",
    verdict="false",
    corrected="m and v are the plain averages; only their ratio is corrected, by 1 - beta^(t+1), "
    "with eps outside the root. The printed recursion divides by zero at t = 0 and "
    "collapses: a constant gradient takes steps 1, 1.64, 2.15, ..., 7.7e-5 at step 100",
)
def adam_recursion(_: Trial) -> Finding:
    """Gradient 1 throughout, decays .9 and .95; Adam from its weighted sums."""
    beta1, beta2, eps, gradients = 0.9, 0.95, 1e-8, np.ones((100, 1))

    def average(beta: float, values: np.ndarray) -> float:
        weights = beta ** np.arange(values.size)[::-1]
        return float(weights @ values / weights.sum())

    printed, corrected = (
        _directions(adam_step_as_printed, gradients),
        _directions(adam_step, gradients),
    )
    return compared(
        *(
            exact(
                f"step {t}",
                average(beta1, gradients[:t, 0])
                / (np.sqrt(average(beta2, gradients[:t, 0] ** 2)) + eps),
                printed=printed[t - 1],
                corrected=corrected[t - 1],
            )
            for t in (1, 2, 3, 100)
        )
    )


def _directions(step: object, gradients: np.ndarray) -> list[float]:
    """Adam directions along a sequence of gradients."""
    assert callable(step)
    state, found = AdamState.start(gradients[0]), []
    for gradient_now in gradients:
        direction, state = step(gradient_now, state, beta1=0.9, beta2=0.95)
        found.append(float(direction[0]))
    return found
