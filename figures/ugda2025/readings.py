"""What policies and reward models are worth on each of the paper's two test sets."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def returns(
    policy: Float[np.ndarray, "runs prompts responses"],
    gold: Float[np.ndarray, "prompts responses"],
    tasks: Sequence[str],
) -> dict[str, np.ndarray]:
    """`gold`: mean true reward; `gold <task>`, and `variance <task>` of it over the responses.

    The variance is over prompts and draws of a task, as a judge of many answers would see it.
    """
    found = {"gold": (policy * gold).sum(-1).mean(-1)}
    for task, part in zip(tasks, _parts(len(gold), len(tasks)), strict=True):
        mean = (policy * gold)[:, part].sum(-1).mean(-1)
        found[f"gold {task}"] = mean
        found[f"variance {task}"] = (policy * gold**2)[:, part].sum(-1).mean(-1) - mean**2
    return found


def accuracy(
    scores: Float[np.ndarray, "runs prompts responses k"],
    gold: Float[np.ndarray, "prompts responses"],
    tasks: Sequence[str],
) -> dict[str, np.ndarray]:
    """Share of all pairs of responses to a prompt that the mean score orders as gold does."""
    mean = scores.mean(-1)
    first, second = np.triu_indices(gold.shape[1], 1)
    right = (mean[..., first] - mean[..., second]) * (gold[:, first] - gold[:, second]) > 0
    found = {"accuracy": right.mean((-2, -1))}
    for task, part in zip(tasks, _parts(len(gold), len(tasks)), strict=True):
        found[f"accuracy {task}"] = right[:, part].mean((-2, -1))
    return found


def outcomes(
    first: Float[np.ndarray, "runs prompts responses"],
    second: Float[np.ndarray, "runs prompts responses"],
    gold: Float[np.ndarray, "prompts responses"],
    tie: float,
) -> dict[str, np.ndarray]:
    """Probabilities that a response of the first policy wins, ties or loses, by run.

    True rewards at most `tie` apart are a tie.
    """
    both = first[..., :, None] * second[..., None, :]
    gap = gold[:, :, None] - gold[:, None, :]
    events = {"win": gap > tie, "tie": np.abs(gap) <= tie, "lose": gap < -tie}
    return {name: (both * event).sum((-2, -1)).mean(-1) for name, event in events.items()}


def _parts(prompts: int, tasks: int) -> list[np.ndarray]:
    """The prompts of each task, as `bandits.refinement_parts.task_of` has them."""
    task = np.arange(prompts) * tasks // prompts
    return [np.flatnonzero(task == one) for one in range(tasks)]
