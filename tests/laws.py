"""The table of presets that the laws of an objective are checked over.

A preset joins by being in `theory.presets.PRESETS`: the laws below run over all of them.
"""

from dataclasses import replace

import numpy as np

from theory.mixes import PolicyWorstMix
from theory.objective import Objective
from theory.penalties import Penalty
from theory.presets import PRESETS, safe
from theory.scores import Scores

PROMPTS, RESPONSES, MEMBERS = 3, 5, 4
BETA = 0.3


def penalised(name: str, beta: float = BETA) -> Objective:
    """A preset at a multiplier, whatever strength it comes with."""
    preset = PRESETS[name]
    objective = preset(beta) if preset is safe else preset()
    return replace(objective, strength=Penalty(beta))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities over the last axis."""
    top = logits.max(-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))


class Draw:
    """One random table: scores, reference and another policy."""

    def __init__(self, seed: int, members: int = MEMBERS) -> None:
        rng = np.random.default_rng(seed)
        shape = (PROMPTS, RESPONSES)
        offset = rng.normal(size=(*shape, 1))
        spread = np.exp(rng.normal(size=(*shape, 1)) / 2)
        noise = spread * rng.normal(size=(*shape, members))
        head_std = np.exp(rng.normal(size=(*shape, members)))
        self.scores = Scores(offset + noise, head_std=head_std)
        self.log_reference = log_softmax(rng.normal(size=shape))
        self.logits = rng.normal(size=shape)
        self.log_policy = log_softmax(self.logits)


ALL = sorted(PRESETS)
TRAINABLE = [name for name in ALL if penalised(name).form in ("bregman", "kl")]
DIAGONAL = [name for name in ALL if not penalised(name).coefficient.matrix]
POLICY_LEVEL = [name for name in ALL if isinstance(penalised(name).utility, PolicyWorstMix)]
