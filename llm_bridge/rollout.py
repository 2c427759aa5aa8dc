"""Responses of a policy in training, what is said of them, and what is recorded of it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped

from llm_bridge.data.pairs import Judge
from llm_bridge.lm.actor import Actor, Reading, log_probabilities, token_distributions
from llm_bridge.lm.tokens import Batch
from llm_bridge.processes import Processes
from llm_bridge.rewards.normalise import Normaliser
from theory.kl_estimators import k3
from theory.scores import Scores


class Rollout(NamedTuple):
    """Responses of the current policy.

    reference: ln of the probabilities of their tokens under the reference; token_kl: KL of whole
    token distributions from the reference's, where asked for; places: rows of the prompts in the
    normaliser's table.
    """

    prompts: list[str]
    responses: list[str]
    batch: Batch
    reading: Reading
    reference: Float[torch.Tensor, "batch time"]
    token_kl: Float[torch.Tensor, "batch time"] | None
    scores: Scores
    places: Int[torch.Tensor, " batch"]

    def part(self, rows: slice) -> "Rollout":
        """Some of the responses."""
        members, std = self.scores.members, self.scores.head_std
        return Rollout(
            self.prompts[rows], self.responses[rows], self.batch[rows],
            Reading(*(x[rows] for x in self.reading)), self.reference[rows],
            None if self.token_kl is None else self.token_kl[rows],
            Scores(members[rows], None if std is None else std[rows]), self.places[rows],
        )  # fmt: skip

    @property
    def log_ratio(self) -> Float[torch.Tensor, "batch time"]:
        """ln(pi / pi0) of every token, 0 beyond the end."""
        return (self.reading.log_prob - self.reference) * self.batch.live


class Read(NamedTuple):
    """What is said of responses, row by row; fields as in `Rollout`."""

    reading: Reading
    reference: Float[torch.Tensor, "batch time"]
    token_kl: Float[torch.Tensor, "batch time"] | None
    scores: Scores

    def to(self, device: Any) -> "Read":
        """The same with all tokens on a device; scores are on the CPU always."""
        kl = None if self.token_kl is None else self.token_kl.to(device)
        reading = Reading(*(x.to(device) for x in self.reading))
        return Read(reading, self.reference.to(device), kl, self.scores)


def drawn(processes: Processes, draw: Callable[[], Batch], pad: int) -> Batch:
    """What all processes draw, in order of rank, on each of them; pad: token beyond the ends.

    As if it had been drawn at once: prompts are padded on the left, responses on the right.
    """
    if processes.count == 1:
        return draw()
    parts = processes.gather(lambda: draw().to("cpu"))
    sides = (("prompts", pad), ("prompt_mask", 0), ("responses", pad), ("live", 0))
    return Batch(
        *(
            _below([getattr(part, name) for part in parts], fill, left=name.startswith("prompt"))
            for name, fill in sides
        )
    ).to(processes.device)


def read(processes: Processes, say: Callable[[], Read]) -> Read:
    """What all processes say, in order of rank, on each of them; all of one width."""
    if processes.count == 1:
        return say()
    parts = processes.gather(lambda: say().to("cpu"))
    scores = [part.scores for part in parts]
    return Read(
        Reading(*map(torch.cat, zip(*(part.reading for part in parts), strict=True))),
        torch.cat([part.reference for part in parts]),
        _optional([part.token_kl for part in parts]),
        Scores(torch.cat([s.members for s in scores]), _optional([s.head_std for s in scores])),
    ).to(processes.device)


def _optional(parts: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.cat(there) if there else None


def _below(
    parts: Sequence[torch.Tensor], fill: int, *, left: bool
) -> Shaped[torch.Tensor, "batch time"]:
    """Below each other, filled up to the widest."""
    width = max(part.shape[1] for part in parts)
    gaps = [width - part.shape[1] for part in parts]
    padded = (
        torch.nn.functional.pad(part, (gap, 0) if left else (0, gap), value=fill)
        for part, gap in zip(parts, gaps, strict=True)
    )
    return torch.cat(list(padded))


def said(
    actor: Actor,
    reference: Callable[[], AbstractContextManager[Any]],
    normaliser: Normaliser,
    prompts: Sequence[str],
    responses: Sequence[str],
    batch: Batch,
    *,
    exact_kl: bool,
) -> Read:
    """By policy, reference and reward models, each in one pass over the responses."""
    temperature, kl = actor.temperature, None
    reading = actor(batch, entropy=True)
    with reference() as model:
        before = log_probabilities(model, batch, temperature=temperature)
    if exact_kl:
        now = token_distributions(actor.model, batch, temperature=temperature)
        with reference() as model:
            start = token_distributions(model, batch, temperature=temperature)
        kl = (now.exp() * (now - start)).sum(-1) * batch.live
    return Read(reading, before, kl, normaliser(prompts, responses))


def describe(
    rolled: Rollout, utility: Float[torch.Tensor, " batch"], beta: float, gold: Judge | None
) -> dict[str, float]:
    """Means over responses: what was maximised (proxy) at a strength beta of the penalty, true
    reward where there is one, and what policy and members say.

    In nats a response: kl (k1, ln(pi / pi0)), kl_k3 [schulman2020], kl_exact (sum of the KL of its
    token distributions, which has the same expectation), and entropy.
    """
    live, ratio = rolled.batch.live, rolled.log_ratio
    row = {
        "kl": ratio.sum(1),
        "kl_k3": (k3(ratio) * live).sum(1),
        "entropy": (rolled.reading.entropy * live).sum(1),
        "length": live.sum(1),
    }
    if rolled.token_kl is not None:
        row["kl_exact"] = rolled.token_kl.sum(1)
    if rolled.scores.k > 1:
        row["member_std"] = rolled.scores.std()
    for index in range(rolled.scores.k):
        row[f"member_{index}"] = rolled.scores.members[:, index]
    means = {"proxy": float(utility.double().mean()), "beta": beta}
    means |= {name: float(values.double().mean()) for name, values in row.items()}
    if gold is not None:
        means["gold"] = float(np.mean(gold(rolled.prompts, rolled.responses)))
    return means
