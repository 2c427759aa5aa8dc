"""What is recorded of a population of policies at one step."""

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float

from theory.arrays import expected, to_numpy
from theory.divergences import kl
from theory.objective import Bound
from theory.scores import Scores

OPTIMAL = 0.9
"""Probability of the best response of every prompt above which an actor counts as optimal."""


@torch.no_grad()
def evaluate(
    log_policy: Float[torch.Tensor, "seeds prompts responses"],
    *,
    bound: Bound,
    step: int,
    seeds: Sequence[int],
    gold: Float[torch.Tensor, "prompts responses"],
    scores: Scores,
    log_reference: Float[torch.Tensor, "seeds prompts responses"],
) -> pd.DataFrame:
    """One row a seed, means over prompts.

    gold, proxy: expected true reward and utility; member_std: expected spread of the members; kl:
    exact KL to the reference in nats; entropy in nats; accuracy: share of prompts whose most likely
    response is best; full: all of them; optimal: all best responses above 0.9. Ties count.
    """
    policy = log_policy.exp()
    best = gold == gold.max(-1, keepdim=True).values
    right = (best & (policy == policy.max(-1, keepdim=True).values)).any(-1)
    on_best = (policy * best).sum(-1)
    utility = bound.objective.utility(scores, bound.binding)
    columns = {
        "gold": (policy * gold).sum(-1).mean(-1),
        "proxy": (policy * utility).sum(-1).mean(-1),
        "kl": kl(log_policy, log_reference).mean(-1),
        "entropy": -expected(policy, log_policy).mean(-1),
        "accuracy": right.float().mean(-1),
        "full": right.all(-1),
        "optimal": (on_best > OPTIMAL).all(-1),
    }
    if scores.k > 1:
        columns["member_std"] = (policy * scores.std()).sum(-1).mean(-1)
    numbers = {name: to_numpy(column) for name, column in columns.items()}
    return pd.DataFrame({"seed": list(seeds), "step": step, **numbers})
