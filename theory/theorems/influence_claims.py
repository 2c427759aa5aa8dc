"""Gradient influence in ugda2025: the Taylor term, Adam, and random projections."""

from collections.abc import Callable

import numpy as np

from theory.influence import (
    AdamState,
    AdamStep,
    adam_step,
    adam_step_as_printed,
    cosine_influence,
    sgd_influence,
)
from theory.preferences import gradient, log_sigmoid
from theory.projection import cosine_error_std, inner_product_variance, median_split_overlap
from theory.theorems.claim import Finding, Trial, claim
from theory.theorems.evidence import all_agree, compared, exact, frequency, sample_mean, sample_sd

PAPER = "ugda2025"
DIMENSION = 8192
"""Projection dimension of the paper."""


@claim(
    PAPER,
    "Eqs 3-5",
    statement="One SGD step on z changes the loss of z' by -eta <grad L(z), grad L(z')> to first "
    "order in eta.",
    verdict="true",
)
def sgd_influence_is_first_order(trial: Trial) -> Finding:
    """A Bradley-Terry loss: the error must fall a hundredfold when eta falls tenfold."""
    weights, sample, validation = trial.rng("sgd_influence_is_first_order").standard_normal((3, 6))

    def slope(pair: np.ndarray) -> np.ndarray:
        return -gradient(pair[None], weights)

    def error(eta: float) -> float:
        after = weights - eta * slope(sample)
        drop = log_sigmoid(np.array(validation @ after)) - log_sigmoid(
            np.array(validation @ weights)
        )
        influence = sgd_influence(
            slope(validation)[None, None], slope(sample)[None, None], np.array([eta])
        )
        return abs(float(drop) - float(influence[0, 0]))

    return compared(
        *(
            exact(
                f"order of the error at eta={eta:g}",
                np.log10(error(eta) / error(eta / 10)),
                printed=2.0,
            )
            for eta in (1e-2, 1e-3)
        ),
        tolerance=0.02,
    )


@claim(
    PAPER,
    "Eq. 6",
    statement="Adam feeds moments divided by 1 - beta^t back into its recursions for m and v.",
    verdict="false",
    corrected="m and v are plain averages; only their ratio is corrected, by 1 - beta^(t+1), with "
    "eps outside the root. The printed recursion divides by zero at t = 0 and collapses: a "
    "constant gradient takes steps 1, 1.64, 2.15, ..., 7.7e-5 at step 100 instead of 1.",
)
def adam_recursion(_: Trial) -> Finding:
    """Gradient 1 at every step, decays .9 and .95; Adam from its weighted averages."""
    gradients, decays = np.ones(100), (0.9, 0.95)

    def average(beta: float, values: np.ndarray) -> float:
        weights = beta ** np.arange(values.size)[::-1]
        return float(weights @ values / weights.sum())

    def adam(t: int) -> float:
        first, second = (average(b, gradients[:t] ** (i + 1)) for i, b in enumerate(decays))
        return first / (np.sqrt(second) + 1e-8)

    printed, corrected = (
        _directions(step, gradients, decays) for step in (adam_step_as_printed, adam_step)
    )
    return compared(
        *(
            exact(f"step {t}", adam(t), printed=printed[t - 1], corrected=corrected[t - 1])
            for t in (1, 2, 3, 100)
        )
    )


def _directions(
    step: Callable[..., AdamStep], gradients: np.ndarray, decays: tuple[float, float]
) -> list[float]:
    """What the optimiser does along a sequence of one-dimensional gradients."""
    state, found = AdamState.start(np.zeros(1)), []
    for value in gradients:
        direction, state = step(np.array([value]), state, beta1=decays[0], beta2=decays[1])
        found.append(float(direction[0]))
    return found


@claim(
    PAPER,
    "Def. 1 (Eq. 7)",
    statement="eta times the cosine of grad L(z') and Gamma(z) is the influence of z on z' under "
    "Adam.",
    verdict="false",
    corrected="The change of the loss that z makes is eta <grad L(z'), Gamma(z) - Gamma(0)>: the "
    "cosine drops both lengths and credits z with the momentum of the samples before it, "
    "even in sign. It is a definition of a score, not a Taylor term.",
)
def adam_influence_is_a_cosine(_: Trial) -> Finding:
    """A linear validation loss; momentum helps it, the sample alone does or does not."""
    validation, eta = np.array([1.0, 0.5]), 0.1
    state = AdamState(np.array([0.4, 0.3]), np.array([0.2, 0.3]), 50)

    def loss_after(sample: np.ndarray) -> float:
        return float(validation @ (-eta * adam_step(sample, state).direction))

    evidence = []
    for name, sample in (("harmful", [-0.3, -0.2]), ("helpful", [0.3, 0.2]), ("no", [0.0, 0.0])):
        own, none = (adam_step(np.array(g), state).direction for g in (sample, [0.0, 0.0]))
        cosine = cosine_influence(validation[None, None], own[None, None], np.array([eta]))
        evidence.append(
            exact(
                f"loss drop due to a sample with {name} gradient",
                loss_after(np.zeros(2)) - loss_after(np.array(sample)),
                printed=float(cosine[0, 0]),
                corrected=eta * float(validation @ (own - none)),
            )
        )
    return compared(*evidence)


@claim(
    PAPER,
    "sec. 4.2",
    statement="Projecting with a matrix of +1 and -1 entries preserves inner products.",
    verdict="false",
    corrected="It multiplies them by d on average; divided by d they have variance "
    "(|u|^2 |v|^2 + <u,v>^2 - 2 sum u^2 v^2)/d. Cosines, as in Eq. 11, do not see the factor.",
)
def sign_projection_scale(trial: Trial) -> Finding:
    """Independent projections of two vectors of 8 coordinates to d = 32."""
    rng, dimension = trial.rng("sign_projection_scale"), 32
    u, v = np.linspace(1, 2, 8), np.linspace(2, 1, 8)
    signs = _signs(rng, max(trial.draws // 20, 100), 8, dimension)
    products = ((u @ signs) * (v @ signs)).sum(-1)
    spread = inner_product_variance(u, v, dimension) ** 0.5
    return compared(
        sample_mean(
            "E of the projected inner product",
            products,
            printed=float(u @ v),
            corrected=float(dimension * (u @ v)),
        ),
        sample_sd("sd, divided by d", products / dimension, corrected=spread),
    )


def _signs(rng: np.random.Generator, draws: int, rows: int, columns: int) -> np.ndarray:
    """Matrices of independent signs."""
    bits = rng.integers(0, 2, size=(draws, rows, columns), dtype=np.int8)
    return bits * np.float32(2) - np.float32(1)


@claim(
    PAPER,
    "sec. 4.2, Eq. 11",
    statement="Projected gradients keep what selects the data: the order of their cosines.",
    verdict="true if",
    corrected="A projected cosine errs by (1 - rho^2)/sqrt(d), so the order survives if the "
    "cosines differ by much more than 1/sqrt(d) = .011 at d = 8192; of true cosines N(0, "
    "tau^2) a half is chosen with overlap 1/2 + asin(tau/sqrt(tau^2 + 1/d))/pi.",
)
def projected_selection(trial: Trial) -> Finding:
    """Errors of cosines at d = 256; signs of cosines at the paper's d against the true ones."""
    rng, rows = trial.rng("projected_selection"), 64
    pairs = int(np.clip(trial.draws // 200, 100, 1000))
    evidence = []
    for cosine in (0.0, 0.5, 0.9):
        base, other = np.linalg.qr(rng.standard_normal((rows, 2)))[0].T
        first, second = base, cosine * base + (1 - cosine**2) ** 0.5 * other
        signs = _signs(rng, pairs, rows, 256)
        a, b = first.astype(np.float32) @ signs, second.astype(np.float32) @ signs
        measured = (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
        name = f"sd of a projected cosine, d=256, rho={cosine}"
        evidence.append(sample_sd(name, measured, corrected=cosine_error_std(cosine, 256)))
    width = 1024
    signs = _signs(rng, 1, width, DIMENSION)[0]
    image = signs @ signs[0] / DIMENSION
    for cosine_std in (0.01, 0.05):
        true = cosine_std * rng.standard_normal(int(np.clip(trial.draws // 20, 400, 10_000)))
        other = rng.standard_normal((true.size, width - 1), dtype=np.float32)
        other /= np.linalg.norm(other, axis=-1, keepdims=True)
        projected = true * image[0] + np.sqrt(1 - true**2) * (other @ image[1:])
        evidence.append(
            frequency(
                f"same half, d={DIMENSION}, tau={cosine_std}",
                (projected > 0) == (true > 0),
                printed=1.0,
                corrected=median_split_overlap(cosine_std, DIMENSION),
            )
        )
    return Finding(
        all_agree(evidence, "printed"), all_agree(evidence, "corrected"), tuple(evidence)
    )
