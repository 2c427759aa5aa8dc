"""What refinement on the grid reads of a world: its start, its members, and evidence on cells."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from bandits.ensembles import Fitted, Independent, Trainable
from bandits.grid import Grid
from bandits.policies import MlpPolicy
from bandits.posteriors import Laplace
from theory.errors import InputError
from theory.grades import ScoreExpert, quantile_edges
from theory.information import information_gains
from theory.memory import identity
from theory.scores import Scores

GRADE_NOISE = 1.0
"""Standard deviation of the reward that a grade stands for, where information is expected."""


def gold_expert(world: Grid) -> ScoreExpert:
    """The gold reward as an expert on cells: each grade is given to a fifth of them."""
    gold = world.gold.double().numpy()

    def score(prompts: Collection[Any], responses: Collection[Any]) -> np.ndarray:
        return np.asarray(gold[np.asarray(prompts), np.asarray(responses)])

    return ScoreExpert(score, quantile_edges(gold))


def trainable(world: Grid) -> Trainable:
    """The ensemble of a world. Raises `InputError` for one that cannot be trained on."""
    if not isinstance(world.ensemble, Trainable):
        raise InputError(
            "world.ensemble", "one that can be trained on: independent, shared_trunk or low_rank",
            world.ensemble,
        )  # fmt: skip
    return world.ensemble


def fitted_members(world: Grid, seeds: tuple[int, ...]) -> Fitted:
    """Trained reward models; whoever trains them further puts them back."""
    ensemble = trainable(world)
    return world.memory.recall(
        "fitted", (identity(world), seeds),
        lambda: ensemble.fitted(world.comparisons(seeds), seeds, world.shape), size=4,
    )  # fmt: skip


def prepared(world: Grid, seeds: tuple[int, ...]) -> tuple[MlpPolicy, torch.Tensor, Scores]:
    """Initial policy, ln of the reference that it is, and normalised scores."""
    return world.memory.recall(
        "prepared", (identity(world), seeds), lambda: world.prepare(seeds), size=4
    )


def validation_shares(
    world: Grid, seeds: Sequence[int], tasks: int, pairs: int
) -> Float[torch.Tensor, "seeds tasks cells"]:
    """Share of each cell among the chosen responses of a task's part of the prompts.

    Comparisons are held out, `pairs` a prompt, and no label is flipped.
    """
    prompts, responses = world.shape
    held_out = replace(world.preferences, pairs=pairs, noise=0.0, given=None)
    cells = torch.as_tensor(held_out.sample(world.gold.numpy(), seeds, 2)[0][:, -1])
    counts = torch.nn.functional.one_hot(cells, prompts * responses).sum(1)
    task = task_of(prompts, tasks).repeat_interleave(responses)
    shares = torch.stack([counts * (task == one) for one in range(tasks)], 1)
    return (shares / shares.sum(-1, keepdim=True)).to(world.gold.dtype)


def task_of(prompts: int, tasks: int) -> Int[torch.Tensor, " prompts"]:
    """Which task each prompt belongs to.

    >>> task_of(4, 2).tolist()
    [0, 0, 1, 1]
    """
    return torch.arange(prompts) * tasks // prompts


def grade_information(
    world: Grid, seeds: Sequence[int], cells: Int[torch.Tensor, "seeds samples"], count: int
) -> Float[np.ndarray, "seeds samples"]:
    """`theory.information.information_gains` of a grade of each sample.

    Under the Laplace posterior of one reward model; what a grade tells of a prompt's offset, which
    no policy depends on, does not count.
    """
    network, data = world.ensemble.network, world.comparisons(seeds).pooled()
    single = Independent(1, network, training=world.ensemble.training)
    layers = [layer.detach() for layer in single.fitted(data, seeds, world.shape).parameters]
    _, covariance = Laplace(1, network).posterior(network.kernel(layers, world.shape), data)
    centre = _centring(prepared(world, tuple(seeds))[1].exp())
    spread = centre @ covariance[:, 0] @ centre.mT
    rows = torch.arange(len(seeds))[:, None, None]
    among = spread[rows, cells[:, :, None], cells[:, None, :]]
    return information_gains(among.double().numpy(), GRADE_NOISE, count)


def at(
    values: Float[torch.Tensor, "seeds cells numbers"], cells: Int[torch.Tensor, "seeds samples"]
) -> Float[np.ndarray, "seeds samples numbers"]:
    """Values of cells, by sample."""
    where = cells[..., None].expand(-1, -1, values.shape[-1])
    return np.asarray(values.gather(1, where).numpy())


def _centring(
    reference: Float[torch.Tensor, "seeds prompts responses"],
) -> Float[torch.Tensor, "seeds cells cells"]:
    """The matrix that takes each prompt's mean under the reference away."""
    cells = reference.flatten(1)
    prompt = torch.arange(reference.shape[1]).repeat_interleave(reference.shape[2])
    same = (prompt[:, None] == prompt).to(cells.dtype)
    return torch.eye(cells.shape[1], dtype=cells.dtype) - same * cells[:, None]
