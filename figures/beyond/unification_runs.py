"""Policies of one objective on three scales, each with responses of its own and of its reference:
exact optima of a table, PPO on that table, and PPO on a language model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jaxtyping import Float

from figures import language_models
from figures.kept import kept
from llm_bridge.caching import VARIABLE
from theory.files import output_folder
from theory.integrity import kept_arrays
from theory.kl_estimators import exact_kl
from theory.objective import Objective
from theory.optimum import solve
from theory.penalties import Form

if TYPE_CHECKING:
    from llm_bridge.tilt import Responses

STEPS = {"table": 240, "language model": 80}
"""Iterations of PPO."""
SAMPLES = {"table": 256, "language model": 128}
"""Responses of the policy to each prompt, and as many of its reference."""
BATCH, LEARNING_RATE = 128, 1.5e-3
MODELS, FIELDS = ("policy", "reference"), ("utility", "price", "log_ratio")
"""What is kept of a language model, by the model that responded."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One policy: responses of it and of its reference, and what the optimum says of the former.

    predicted: ln(pi* / pi0) of the policy's responses, estimated from both unless a table has it.
    exact: KL(pi | pi*) in nats on a table; NaN on a language model.
    """

    seed: int
    policy: "Responses"
    reference: "Responses"
    predicted: Float[np.ndarray, "prompts n"]
    exact: float


def on_tables(
    objective: Objective, optimiser: Any, seeds: Sequence[int], rng: np.random.Generator
) -> Iterator[Measured]:
    """A policy a seed on the 8x8 grid."""
    from bandits.ensembles import Independent
    from bandits.grid import Grid
    from llm_bridge.tilt import Responses

    world = Grid(ensemble=Independent(members=5))
    start, log_reference, scores = world.prepare(seeds)
    steps = STEPS["table"]
    found = optimiser.optimise(objective, scores, log_reference, start, seeds, steps, steps)
    _, learned, bound = list(found)[-1]
    utility = bound.objective.utility(scores, bound.binding)
    price = bound.objective.coefficient(scores, bound.binding).expand_as(utility)
    optimum = solve(bound, log_reference, scores).log_policy
    columns = zip(
        *(table.double().numpy() for table in (utility, price)),
        *(table.double().log_softmax(-1).numpy() for table in (learned, log_reference, optimum)),
        strict=True,
    )
    for seed, (u, c, policy, reference, best) in zip(seeds, columns, strict=True):
        cells = [_drawn(source, rng) for source in (policy, reference)]
        own, before = (
            Responses(
                _taken(u, rows), _taken(c, rows), _taken(policy - reference, rows), objective.form
            )
            for rows in cells
        )
        away = float(exact_kl(policy, best).mean())
        yield Measured(seed, own, before, _taken(best - reference, cells[0]), away)


def on_language_models(objective: Objective, seeds: Sequence[int]) -> Iterator[Measured]:
    """A policy a seed on the embedded language, of a preference data set and reward models each."""
    world = language_models.text_world()
    import torch

    from llm_bridge.optimality import predicted, respond
    from llm_bridge.seeds import hash_seed
    from llm_bridge.settings import Settings
    from llm_bridge.tilt import Responses

    settings = Settings(
        batch=BATCH, minibatches=4, learning_rate=LEARNING_RATE, lam=1.0, schedule="cosine"
    )
    beta = objective.strength.beta  # type: ignore[union-attr]
    described = ("unification", repr(objective), STEPS, SAMPLES, repr(settings), repr(world))
    folder = output_folder(kept(described, world.trainer), argument="cache", option=VARIABLE)

    def measured(seed: int) -> dict[str, Any]:
        trainer = world.trainer(objective, settings, seed)
        for _ in trainer.run(STEPS["language model"]):
            pass
        generator = torch.Generator().manual_seed(hash_seed(seed, "unification"))
        policy, reference = (
            respond(trainer, SAMPLES["language model"], model, generator=generator)
            for model in MODELS
        )
        arrays = {
            f"{model}_{field}": getattr(found, field)
            for model, found in zip(MODELS, (policy, reference), strict=True)
            for field in FIELDS
        }
        away = predicted(policy, reference, beta)
        return {**arrays, "form": np.array(policy.form), "predicted": away}

    for seed in seeds:
        arrays = kept_arrays(folder / f"{seed}.npz", partial(measured, seed))
        form = cast(Form, str(arrays["form"]))
        policy, reference = (
            Responses(**{field: arrays[f"{model}_{field}"] for field in FIELDS}, form=form)
            for model in MODELS
        )
        yield Measured(seed, policy, reference, arrays["predicted"], float("nan"))


def _drawn(log_policy: Float[np.ndarray, "prompts cells"], rng: np.random.Generator) -> np.ndarray:
    """Cells of each prompt by their probabilities; (prompts, samples)."""
    shares = np.exp(log_policy).cumsum(1)
    dice = rng.random((len(shares), SAMPLES["table"], 1)) * shares[:, None, -1:]
    return np.asarray((dice >= shares[:, None]).sum(-1))


def _taken(table: Float[np.ndarray, "prompts cells"], cells: np.ndarray) -> np.ndarray:
    return np.take_along_axis(table, cells, 1)
