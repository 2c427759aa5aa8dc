"""What all tabular worlds have, and the one loop that trains policies in them."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from bandits.evaluate import evaluate
from bandits.policies import Policy
from theory.errors import InputError
from theory.objective import Objective
from theory.scores import Scores

MOST_KL = 20.0
"""Nats a prompt beyond which a policy has diverged: it lives on responses of probability e^-20
under the reference, which reward models know nothing of. Among a thousand responses that it knows
alike, no objective leads beyond ln 1000 = 7."""


class TabularWorld(ABC):
    """A `theory.experiment.World` of a few prompts and responses, for many seeds at once."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As quoted in records."""

    @property
    @abstractmethod
    def gold(self) -> Float[torch.Tensor, "prompts responses"]:
        """True rewards."""

    @abstractmethod
    def prepare(self, seeds: Sequence[int]) -> tuple[Policy, torch.Tensor, Scores]:
        """Initial policy, ln of the reference (seeds, prompts, responses), and scores."""

    def sound(self, seeds: Sequence[int]) -> Sequence[int]:
        """Seeds that can be trained on; the others are named."""
        return seeds

    def train(
        self,
        objective: Objective,
        optimiser: Any,
        seeds: Sequence[int],
        *,
        steps: int,
        evaluate_every: int,
    ) -> Iterator[pd.DataFrame]:
        """One frame of `bandits.evaluate` an evaluation; see `theory.experiment.World`.

        Runs whose policy is no longer finite are named and stop being recorded; the others go on.
        `diverged` says which ones were beyond `MOST_KL` by then; the first of them are named on
        stderr. Raises `InputError` when none is left.
        """
        seeds = self.sound(seeds)
        policy, log_reference, scores = self.prepare(seeds)
        gold, lost = self.gold, torch.zeros(len(seeds), dtype=torch.bool)
        far = np.zeros(len(seeds), dtype=bool)
        for step, log_policy, bound in optimiser.optimise(
            objective, scores, log_reference, policy, seeds, steps, evaluate_every
        ):
            broken = torch.isnan(log_policy).any(-1).any(-1).cpu()
            for index in (broken & ~lost).nonzero()[:, 0].tolist():
                print(
                    f"seed {seeds[index]} stopped: its policy is NaN by step {step} ({objective})"
                )
            lost |= broken
            if lost.all():
                raise InputError("policy", "finite in some run", f"NaN in all, by step {step}")
            frame = evaluate(
                log_policy, bound=bound, step=step, seeds=seeds, gold=gold, scores=scores,
                log_reference=log_reference,
            )  # fmt: skip
            beyond = (frame.kl > MOST_KL).to_numpy()
            if beyond.any() and not far.any():
                which = (
                    f"in {beyond.sum()} of {len(seeds)} seeds, such as {frame.seed[beyond].iloc[0]}"
                )
                why = f"KL above {MOST_KL:g} nats by step {step}; lower the learning rate"
                print(f"warning: {objective} diverged {which}: {why}", file=sys.stderr)
            far |= beyond
            yield frame.assign(diverged=far)[~lost.numpy()]
